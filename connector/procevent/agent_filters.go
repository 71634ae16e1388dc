package procevent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// filterGroup is a filter that somebody asked for, and the group that its events go
// to. It is the callback of the id that owns the group. All fields
// but the first two belong to the loop.
type filterGroup struct {
	a     *Agent
	group uint32

	interested chan struct{} // closed when it had its first member
	ready      chan struct{} // closed when the processes it asks about are known

	key       string
	site      bool // for the hosts of a site
	filter    Filter
	uid       uint32 // who asked first
	listening bool
	isReady   bool
	kept      time.Time // asked for, or left by the last listener
	grace     *time.Timer
	members   map[uint32]struct{} // of the trees
}

func (g *filterGroup) id() cbid.ID { return cbid.Make(g.group, filterVal) }

// Handle ignores what is sent to a filter's id: requests go to 1:1.
func (g *filterGroup) Handle(context.Context, *connector.Delivery) {}

// Interest says whether the group has members.
func (g *filterGroup) Interest(_ context.Context, _ uint32, listening bool) {
	g.a.hand(func() { g.a.interest(g, listening) })
}

// filterGroup finds or makes the group of a canonical filter. It runs in the loop.
func (a *Agent) filterGroup(f Filter, uid uint32, site bool) (g *filterGroup, fresh bool, err error) {
	key := string(f.appendAttributes(nil, native))
	if site {
		key = "site" + key // nothing else begins so: an attribute has no such number
	}
	if g = a.loop.filters[key]; g != nil {
		a.keep(g)
		return g, false, nil
	}
	own := 0
	for _, g := range a.loop.filters {
		if g.uid == uid && g.site == site {
			own++
		}
	}
	switch {
	case len(a.loop.filters) >= a.cfg.MaxFilters:
		return nil, false, fmt.Errorf("%d filters of process events exist: %w", len(a.loop.filters), connector.ErrLimit)
	case own >= a.cfg.MaxUserFilters:
		return nil, false, fmt.Errorf("user %d has %d filters of process events: %w", uid, own, connector.ErrLimit)
	}
	g = &filterGroup{
		a: a, key: key, filter: f, uid: uid, group: a.newGroup(site), site: site,
		interested: make(chan struct{}), ready: make(chan struct{}),
	}
	g.grace = time.AfterFunc(a.cfg.Grace, func() { a.hand(func() { a.expire(g) }) })
	a.loop.filters[key] = g
	a.keep(g)
	return g, true, nil
}

// newGroup is the number of the next filter's group.
func (a *Agent) newGroup(site bool) uint32 {
	l := &a.loop
	if site {
		l.nextSite = (l.nextSite + 1) % siteGroups
		return FirstSiteGroup + l.host*siteGroups + l.nextSite
	}
	g := l.nextGroup
	if l.nextGroup++; l.nextGroup == FirstSiteGroup {
		l.nextGroup = FirstFilterGroup
	}
	return g
}

func (a *Agent) keep(g *filterGroup) {
	g.kept = time.Now()
	g.grace.Reset(a.cfg.Grace)
}

// expire drops a filter without listeners whose time is over.
func (a *Agent) expire(g *filterGroup) {
	if a.loop.filters[g.key] != g || g.listening {
		return
	}
	if left := a.cfg.Grace - time.Since(g.kept); left > 0 {
		g.grace.Reset(left)
		return
	}
	a.forget(g)
	a.wg.Go(func() {
		if err := a.del(g.id()); err != nil {
			a.cfg.Logger.Warn("removing a filter of process events", "id", g.id(), "error", err)
		}
	})
}

func (a *Agent) forget(g *filterGroup) {
	if a.loop.filters[g.key] == g {
		g.grace.Stop()
		delete(a.loop.filters, g.key)
	}
}

// interest follows the listeners of g.
func (a *Agent) interest(g *filterGroup, listening bool) {
	if g.listening == listening || a.loop.filters[g.key] != g {
		return
	}
	g.listening = listening
	if !listening {
		a.loop.sending = slices.DeleteFunc(a.loop.sending, func(o *filterGroup) bool { return o == g })
		g.isReady, g.members, g.interested, g.ready = false, nil, make(chan struct{}), make(chan struct{})
		a.keep(g)
		return
	}
	close(g.interested)
	a.loop.sending = append(a.loop.sending, g)
	slices.SortFunc(a.loop.sending, func(x, y *filterGroup) int { return cmp.Compare(x.group, y.group) })
}

// settleTracker has the processes known while filters ask for them, and makes
// filters ready.
func (a *Agent) settleTracker() {
	l := &a.loop
	need, scan := false, false
	for _, g := range l.sending {
		need = need || g.filter.attributes()
		scan = scan || len(g.filter.Trees) > 0 && !g.isReady
		if len(g.filter.Trees) == 0 {
			g.setReady()
		}
	}
	switch {
	case a.client == nil:
	case need && l.tracker == nil:
		l.tracker = newTracker(a.cfg.root)
	case !need && l.tracker != nil && l.scanning == nil:
		l.tracker.close()
		l.tracker = nil
	}
	if scan && l.tracker != nil && l.scanning == nil {
		a.scan()
	}
}

// setReady lets those go on who wait for g.
func (g *filterGroup) setReady() {
	if !g.isReady {
		g.isReady = true
		close(g.ready)
	}
}

// scan has all processes read; the loop goes on meanwhile.
func (a *Agent) scan() {
	t := a.loop.tracker
	for _, g := range a.loop.sending {
		g.seed()
	}
	j := t.scan()
	if j == nil {
		return // all readers are stuck; the next command or event tries again
	}
	a.loop.scanning = j
	a.wg.Go(func() {
		select {
		case <-j.done:
			a.hand(func() { a.scanned(t, j) })
		case <-a.ctx.Done():
		}
	})
}

// seed makes the roots members, so that what they fork from now on is followed.
func (g *filterGroup) seed() {
	if g.members == nil && len(g.filter.Trees) > 0 {
		g.members = make(map[uint32]struct{})
		for _, root := range g.filter.Trees {
			g.members[root] = struct{}{}
		}
	}
}

func (a *Agent) scanned(t *tracker, j *job) {
	if a.loop.scanning != j || a.loop.tracker != t {
		return
	}
	a.loop.scanning = nil
	if j.err != nil {
		a.cfg.Logger.Error("reading the processes", "error", j.err)
		return
	}
	t.merge(j.all)
	for _, g := range a.loop.sending {
		if g.members == nil {
			continue
		}
		for tgid := range g.members {
			if t.procs[tgid] == nil {
				delete(g.members, tgid)
			}
		}
		t.descendants(g.members)
		g.setReady()
	}
}
