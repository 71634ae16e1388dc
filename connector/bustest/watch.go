package bustest

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func watchCap(c Caps) bool { return c.Registry && c.Watch }

// watcher opens a watch that ends with the test.
func (e *env) watcher(b connector.Bus, set *cbid.Set) connector.Watcher {
	e.Helper()
	w, err := connector.Watch(e.ctx, b, set)
	require.NoError(e, err)
	e.Cleanup(func() { w.Close() })
	return w
}

func (e *env) change(w connector.Watcher) connector.Change {
	e.Helper()
	c, err := w.Next(e.ctx)
	require.NoError(e, err)
	return c
}

// view is what a watcher knows of the registrations by what it was told.
type view struct {
	infos  map[cbid.ID]connector.IDInfo
	marked bool // the marker has come
	resync int
}

func newView() *view { return &view{infos: make(map[cbid.ID]connector.IDInfo)} }

// helper is a test, of testing or of rapid.
type helper interface {
	require.TestingT
	Helper()
}

// apply adds a change, which must make sense after those before it.
func (v *view) apply(e helper, c connector.Change) {
	e.Helper()
	_, have := v.infos[c.Info.ID]
	switch c.Kind {
	case connector.ChangePresent:
		require.False(e, v.marked, "present after the marker: %v", c.Info)
		require.False(e, have, "present twice: %v", c.Info)
		v.infos[c.Info.ID] = c.Info
	case connector.ChangeMarker:
		require.False(e, v.marked, "a second marker")
		v.marked = true
	case connector.ChangeAdded:
		require.False(e, have, "added, but known: %v", c.Info)
		v.infos[c.Info.ID] = c.Info
	case connector.ChangeRemoved:
		require.True(e, have, "removed, but unknown: %v", c.Info)
		delete(v.infos, c.Info.ID)
	case connector.ChangeResync:
		*v = view{infos: make(map[cbid.ID]connector.IDInfo), resync: v.resync + 1}
	default:
		require.Fail(e, "unknown kind", "%v", c.Kind)
	}
}

// until applies changes until the marker has come and done says so.
func (v *view) until(e *env, w connector.Watcher, done func() bool) {
	e.Helper()
	for !v.marked || !done() {
		v.apply(e, e.change(w))
	}
}

func (v *view) has(id cbid.ID) func() bool {
	return func() bool { _, ok := v.infos[id]; return ok }
}

var watchTests = []test{
	{name: "a watch tells what is present, then a marker, then what changes", need: watchCap, run: func(e *env) {
		a, b := e.bus(), e.bus()
		require.NoError(e, a.AddCallback(e.ctx, id(0, 1), "first", connector.HandlerFunc(e.echo)))
		require.NoError(e, b.AddCallback(e.ctx, id(1, 2), "second", connector.HandlerFunc(e.echo)))
		w := e.watcher(e.bus(), nil)
		v := newView()
		v.until(e, w, func() bool { return true })
		require.Len(e, v.infos, 2)
		first, second := v.infos[id(0, 1)], v.infos[id(1, 2)]
		assert.Equal(e, "first", first.Name)
		assert.Equal(e, group(0), first.Group)
		assert.Equal(e, "second", second.Name)
		assert.NotZero(e, first.Port)
		assert.NotEqual(e, first.Port, second.Port, "ports of two agents")
		if e.carrier.Caps.Cred {
			assert.Equal(e, connector.Cred{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: uint32(os.Getpid())}, first.Owner)
		}
		require.NoError(e, a.AddCallback(e.ctx, id(0, 3), "third", connector.HandlerFunc(e.echo)))
		assert.Equal(e, connector.Change{Kind: connector.ChangeAdded, Info: connector.IDInfo{
			ID: id(0, 3), Name: "third", Group: group(0), Port: first.Port, Owner: first.Owner,
		}}, e.change(w))
		require.NoError(e, a.DelCallback(e.ctx, id(0, 1)))
		assert.Equal(e, connector.Change{Kind: connector.ChangeRemoved, Info: first}, e.change(w))
		require.NoError(e, b.Close())
		assert.Equal(e, connector.Change{Kind: connector.ChangeRemoved, Info: second}, e.change(w))
	}},
	{name: "a watch of nothing present begins with its marker", need: watchCap, run: func(e *env) {
		assert.Equal(e, connector.ChangeMarker, e.change(e.watcher(e.bus(), nil)).Kind)
	}},
	{name: "a watch of a set tells of that set only", need: watchCap, run: func(e *env) {
		agent := e.bus()
		e.register(agent, id(0, 1), e.echo)
		e.register(agent, id(1, 1), e.echo)
		w := e.watcher(e.bus(), cbid.NewSet(cbid.Rect{
			Idx: cbid.Range{First: group(0), Count: 1}, Val: cbid.Range{First: 1, Count: 5},
		}))
		v := newView()
		v.until(e, w, func() bool { return true })
		assert.Len(e, v.infos, 1)
		e.addDel(agent, id(0, 0), id(0, 6), id(1, 2), id(2, 3))
		e.register(agent, id(0, 5), e.echo)
		c := e.change(w)
		assert.Equal(e, connector.ChangeAdded, c.Kind)
		assert.Equal(e, id(0, 5), c.Info.ID)
	}},
	{name: "replaying a watch that began in a churn gives the truth", need: watchCap, run: func(e *env) {
		const churners, rounds = 4, 150
		truth := make([]map[cbid.ID]bool, churners)
		var wg sync.WaitGroup
		for c := range churners {
			bus, rnd := e.bus(), rand.New(rand.NewPCG(1, uint64(c)))
			truth[c] = map[cbid.ID]bool{}
			wg.Go(func() {
				for range rounds {
					at := id(c, rnd.IntN(8))
					if truth[c][at] {
						delete(truth[c], at)
						assert.NoError(e, bus.DelCallback(e.ctx, at))
					} else {
						truth[c][at] = true
						assert.NoError(e, bus.AddCallback(e.ctx, at, "churn", connector.HandlerFunc(e.echo)))
					}
				}
			})
		}
		end := id(9, 9)
		var views []*view
		var watchers []connector.Watcher
		var readers []<-chan struct{}
		for i := range 6 {
			w := e.watcher(e.bus(), nil)
			v := newView()
			v.until(e, w, func() bool { return true })
			if i < 3 { // these read on while ids come and go, the others stop at the marker
				readers = append(readers, e.spawn(func() { v.until(e, w, v.has(end)) }))
			}
			views, watchers = append(views, v), append(watchers, w)
		}
		wg.Wait()
		e.register(e.bus(), end, e.echo)
		for _, r := range readers {
			e.await(r, "the watcher's end")
		}
		for i, v := range views {
			v.until(e, watchers[i], v.has(end))
		}
		// Who was told of end as present has changes to come still that were before it.
		last := id(9, 10)
		e.register(e.bus(), last, e.echo)
		for i, v := range views {
			v.until(e, watchers[i], v.has(last))
			delete(v.infos, end)
			delete(v.infos, last)
			want := map[cbid.ID]bool{}
			for _, t := range truth {
				for at := range t {
					want[at] = true
				}
			}
			got := map[cbid.ID]bool{}
			for at := range v.infos {
				got[at] = true
			}
			assert.Equal(e, want, got)
		}
	}},
	{name: "a watcher that reads too slowly is told to begin again", need: watchCap, run: func(e *env) {
		agent := e.bus()
		w := e.watcher(e.bus(), nil)
		v := newView()
		v.until(e, w, func() bool { return true })
		for i := range 1500 {
			e.addDel(agent, id(0, i%7))
		}
		e.register(agent, id(1), e.echo)
		v.until(e, w, v.has(id(1)))
		assert.Len(e, v.infos, 1)
		e.Logf("%d resyncs", v.resync)
	}},
	{name: "Next ends with its context and loses nothing", need: watchCap, run: func(e *env) {
		agent := e.bus()
		w := e.watcher(e.bus(), nil)
		require.Equal(e, connector.ChangeMarker, e.change(w).Kind)
		ctx, cancel := e.short()
		defer cancel()
		_, err := w.Next(ctx)
		e.is(err, context.DeadlineExceeded)
		e.register(agent, id(0), e.echo)
		assert.Equal(e, connector.ChangeAdded, e.change(w).Kind)
	}},
	{name: "closing a watch ends Next", need: watchCap, run: func(e *env) {
		for _, b := range []bool{true, false} {
			bus := e.bus()
			w := e.watcher(bus, nil)
			require.Equal(e, connector.ChangeMarker, e.change(w).Kind)
			ended := e.spawn(func() {
				_, err := w.Next(e.ctx)
				e.is(err, connector.ErrClosed)
			})
			if b {
				require.NoError(e, w.Close())
			} else {
				require.NoError(e, bus.Close())
			}
			e.await(ended, "Next's end")
			require.NoError(e, w.Close(), "again")
			_, err := w.Next(e.ctx)
			e.is(err, connector.ErrClosed)
		}
	}},
}
