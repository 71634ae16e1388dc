package procevent

import (
	"encoding/binary"
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// dispatch sends an event to everybody who wants it. Nothing is allocated for one
// that needs no look into /proc.
func (a *Agent) dispatch(e *Event) {
	l := &a.loop
	if e.Kind == Lost {
		a.dispatchLost(e)
		return
	}
	l.stats.Events++
	data := l.buf[:]
	copy(data, e.raw[:])
	if l.unfiltered {
		a.post(ID, e.Seq, data, Group)
	}
	if len(l.sending) == 0 {
		return
	}
	t := l.tracker
	if t != nil {
		t.before(e)
	}
	if l.names != nil {
		l.names.add(e)
	}
	l.site = l.site[:0]
	for _, g := range l.sending {
		switch pass, known := g.judge(t, e); {
		case pass && g.site:
			a.postSite(e, g.group)
		case pass:
			a.post(ID, e.Seq, data, g.group)
		case !known:
			l.stats.Unresolved++
			a.postLost(&Event{Kind: Lost, Count: 1}, g)
		}
	}
	if t != nil && t.after(e) {
		for _, g := range l.sending {
			delete(g.members, e.Tgid)
		}
	}
}

// dispatchLost tells everybody. How many of the missing events a filter would have let pass
// nobody knows, so there the number is only a bound.
func (a *Agent) dispatchLost(e *Event) {
	l := &a.loop
	l.stats.Lost += e.Count
	if l.names != nil {
		l.names.add(e)
	}
	if l.unfiltered {
		var b [lostSize]byte
		a.post(LostID, 0, appendLost(b[:0], e, native), Group)
	}
	for _, g := range l.sending {
		a.postLost(&Event{Kind: Lost, Count: e.Count, Exact: e.Exact && g.filter.IsZero()}, g)
	}
	if t := l.tracker; t != nil {
		// Ends and forks may be missing: what is known of any process may be of another.
		clear(t.procs)
		if l.scanning == nil {
			a.scan()
		} else {
			l.scanning = nil // what it found is older than the loss
			a.scan()
		}
	}
}

// judge reports whether e passes, and whether that could be known.
func (g *filterGroup) judge(t *tracker, e *Event) (pass, known bool) {
	f := &g.filter
	if !f.Kinds.Has(e) {
		g.follow(e)
		return false, true
	}
	if !f.attributes() {
		return true, true
	}
	if e.Tgid == 0 || t == nil {
		return false, true
	}
	g.follow(e)
	if len(f.Trees) > 0 {
		if _, ok := g.members[e.Tgid]; !ok {
			return false, true
		}
	}
	if len(f.UIDs) == 0 && len(f.Cgroups) == 0 {
		return true, true
	}
	p := t.get(e, len(f.Cgroups) > 0)
	if p == nil {
		return false, false
	}
	return (len(f.UIDs) == 0 || contains(f.UIDs, p.uid)) && (len(f.Cgroups) == 0 || f.inCgroup(p.cgroup)), true
}

// follow makes a child of a member a member, and an unrelated process with the
// number of an old member none.
func (g *filterGroup) follow(e *Event) {
	if g.members == nil || e.Kind != Fork || e.IsThread() {
		return
	}
	if _, ok := g.members[e.ParentTgid]; ok {
		g.members[e.Tgid] = struct{}{}
	} else {
		delete(g.members, e.Tgid)
	}
}

func contains(sorted []uint32, v uint32) bool {
	for _, s := range sorted {
		if s >= v {
			return s == v
		}
	}
	return false
}

func (a *Agent) postLost(e *Event, g *filterGroup) {
	var b [lostSize]byte
	order := binary.ByteOrder(native)
	if g.site {
		order = siteOrder
	}
	a.post(LostID, 0, appendLost(b[:0], e, order), g.group)
}

// post multicasts without waiting for anybody.
func (a *Agent) post(id cbid.ID, seq uint32, data []byte, group uint32) {
	err := a.send(a.ctx, connector.Message{ID: id, Seq: seq, Data: data}, connector.Dest{Group: group, Full: connector.FullDrop})
	switch {
	case err == nil:
		a.loop.stats.Sent++
	case errors.Is(err, connector.ErrNoListener): // the last one has just left
	default:
		if a.loop.stats.Failed++; a.loop.stats.Failed&(a.loop.stats.Failed-1) == 0 {
			a.cfg.Logger.Error("sending process events", "error", err, "failed", a.loop.stats.Failed)
		}
	}
}
