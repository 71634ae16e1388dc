//go:build linux

package faults

import (
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

// stream is what an endpoint hears of one group, held against the promises
// as it comes. Read it when done is closed.
type stream struct {
	done    chan struct{}
	got     []uint64 // numbers
	pos     uint64   // of the last message, what was lost included
	lost    uint64
	unknown int
	downs   int
	ups     atomic.Int64 // read it any time
	last    connector.EventKind
}

// follow reads e until the last number.
func (l *load) follow(name string, e *client.Endpoint) *stream {
	st := &stream{done: make(chan struct{}), last: connector.EventUp}
	go func() {
		defer close(st.done)
		for {
			ev, err := e.Recv(l.ctx)
			if err != nil {
				l.fault("%s: %v", name, err)
				return
			}
			if st.take(l, name, ev) {
				return
			}
		}
	}()
	return st
}

func (st *stream) take(l *load, name string, ev connector.Event) (done bool) {
	switch ev.Kind {
	case connector.EventDown:
		if st.last != connector.EventUp {
			l.fault("%s: down while it was down", name)
		}
		st.downs++
		st.last = ev.Kind
	case connector.EventUp:
		if st.last != connector.EventDown {
			l.fault("%s: up without having been down", name)
		}
		st.last = ev.Kind
		st.ups.Add(1)
	case connector.EventLost:
		if ev.Unknown {
			st.unknown++
		}
		st.lost += ev.Lost
		st.pos += ev.Lost
	case connector.EventMessage:
		if st.last != connector.EventUp {
			l.fault("%s: a message while it was down", name)
		}
		st.pos++
		if ev.Pos != 0 && ev.Pos != st.pos {
			l.fault("%s: position %d where %d should come", name, ev.Pos, st.pos)
		}
		n := native.Uint64(ev.Msg.Data)
		if len(st.got) > 0 && n <= st.got[len(st.got)-1] {
			l.fault("%s: %d after %d", name, n, st.got[len(st.got)-1])
		}
		if n == lastNumber {
			return true
		}
		st.got = append(st.got, n)
	default:
		l.fault("%s: %v: %v", name, ev.Kind, ev.Err)
	}
	return false
}

// view is what a watcher knows, held against the grammar of its stream.
type view struct {
	mu     sync.Mutex // guards what follows
	ids    map[cbid.ID]bool
	marked bool
	resync int
}

// observe reads w until it is closed.
func (l *load) observe(w connector.Watcher) *view {
	v := &view{ids: make(map[cbid.ID]bool)}
	go func() {
		for {
			ch, err := w.Next(l.ctx)
			if err != nil {
				return
			}
			v.mu.Lock()
			id := ch.Info.ID
			ok := true
			switch ch.Kind {
			case connector.ChangeResync:
				v.ids, v.marked = make(map[cbid.ID]bool), false
				v.resync++
			case connector.ChangeMarker:
				ok = !v.marked
				v.marked = true
			case connector.ChangePresent:
				ok = !v.marked && !v.ids[id]
				v.ids[id] = true
			case connector.ChangeAdded:
				ok = !v.ids[id]
				v.ids[id] = true
			case connector.ChangeRemoved:
				ok = v.ids[id]
				delete(v.ids, id)
			}
			v.mu.Unlock()
			if !ok {
				l.fault("watcher: %v of %v does not follow", ch.Kind, id)
			}
		}
	}()
	return v
}

// again reports whether the watcher has been told the state after n interruptions.
func (v *view) again(n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.marked && v.resync >= n
}

// has reports whether the watcher knows exactly these ids.
func (v *view) has(ids map[cbid.ID]bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.marked || len(v.ids) != len(ids) {
		return false
	}
	for id := range ids {
		if !v.ids[id] {
			return false
		}
	}
	return true
}

// watcher watches everything.
func (l *load) watcher() connector.Watcher {
	w, err := l.s.bus("watcher").Watch(l.ctx, nil)
	require.NoError(l.t, err)
	return w
}
