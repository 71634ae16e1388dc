//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

// Groups of the load.
const (
	longGroup  = 0x3000 // keeps all
	shortGroup = 0x3003 // keeps the last shortKept messages
	plainGroup = 0x3002 // keeps nothing
	addedIdx   = 0x3001 // of ids that are registered all the time
	joinedBase = 0x4000 // of groups that are joined all the time
	mostOfEach = 400

	shortKept = 20
)

var (
	sinkID  = cbid.Make(longGroup, 1) // takes confirmed messages
	shortID = cbid.Make(shortGroup, 1)
)

// load is clients of all kinds that do all that a broker is for, without end, and
// note what the broker has acknowledged.
type load struct {
	t    testing.TB
	s    *site
	ctx  context.Context
	stop chan struct{}
	wg   sync.WaitGroup

	agent  *client.Bus
	asked  chan struct{} // silentID was called
	joiner *client.Endpoint
	pub    *client.Endpoint
	actors []*actor

	mu        sync.Mutex // guards what follows
	busEvents []connector.EventKind
	sunk      map[uint64]int // what the sink got, and how often
	wrong     []string
}

// actor is one client that does one thing again and again.
type actor struct {
	name  string
	done  atomic.Int64 // how often it was acknowledged
	over  atomic.Bool
	acked []uint64 // what was acknowledged; read it when the load has ended
}

func newLoad(s *site) *load {
	l := &load{
		t: s.t, s: s, ctx: limited(s.t), stop: make(chan struct{}), asked: make(chan struct{}, 1),
		sunk: make(map[uint64]int),
	}
	l.agent = s.busWith(&client.Config{Name: "agent", OnEvent: func(ev connector.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busEvents = append(l.busEvents, ev.Kind)
	}})
	echoes(l.t, l.agent, echoID, shortID)
	l.register(silentID, func(context.Context, *connector.Delivery) { l.asked <- struct{}{} })
	l.register(sinkID, func(_ context.Context, d *connector.Delivery) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sunk[native.Uint64(d.Msg.Data)]++
	})
	require.NoError(l.t, l.agent.SetHistory(l.ctx, longGroup, connector.History{Bytes: 64 << 20}))
	require.NoError(l.t, l.agent.SetHistory(l.ctx, shortGroup, connector.History{Messages: shortKept}))
	l.pub, l.joiner = endpoint(l.t, s.bus("publisher")), endpoint(l.t, s.bus("joiner"))
	return l
}

func (l *load) register(id cbid.ID, f connector.HandlerFunc) {
	require.NoError(l.t, l.agent.AddCallback(l.ctx, id, "load", f))
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 10 {
		l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
	}
}

// run starts the actors.
func (l *load) run() {
	sender, caller, poster := endpoint(l.t, l.s.bus("sender")), endpoint(l.t, l.s.bus("caller")), endpoint(l.t, l.s.bus("poster"))
	l.act("sender", func(n uint64) error {
		return sender.Send(l.ctx, connector.Message{ID: sinkID, Data: number(n, 200)}, toID)
	})
	l.act("publisher", func(n uint64) error {
		err := l.pub.Send(l.ctx, connector.Message{ID: sinkID, Data: number(n, 200)}, connector.Dest{Group: longGroup})
		// How many of these are kept is counted by their positions.
		_ = l.pub.Post(l.ctx, connector.Message{ID: sinkID, Data: number(n, 20)}, connector.Dest{Group: shortGroup})
		return err
	})
	l.act("caller", func(n uint64) error {
		ev, err := caller.Call(l.ctx, connector.Message{ID: echoID, Data: number(n, 20)}, toID)
		if err == nil && native.Uint64(ev.Msg.Data) != n {
			l.fault("the reply to %d is %d", n, native.Uint64(ev.Msg.Data))
		}
		return err
	})
	l.act("poster", func(n uint64) error {
		err := poster.Send(l.ctx, connector.Message{ID: sinkID, Data: number(n, 20)}, connector.Dest{Group: plainGroup})
		if errors.Is(err, connector.ErrNoListener) {
			return connector.ErrNoID // the member is not back yet
		}
		return err
	})
	l.act("registrar", func(n uint64) error {
		if n >= mostOfEach {
			return errEnough
		}
		err := l.agent.AddCallback(l.ctx, cbid.Make(addedIdx, uint32(n)), "added", connector.HandlerFunc(silent))
		if err != nil {
			l.fault("a registration is made again until it is answered: %v", err)
		}
		return err
	})
	l.act("joiner", func(n uint64) error {
		if n >= mostOfEach {
			return errEnough
		}
		err := l.joiner.Join(l.ctx, joinedBase+uint32(n))
		if err != nil {
			l.fault("a membership is asked for again until it is answered: %v", err)
		}
		return err
	})
}

var errEnough = errors.New("enough")

// act calls f with rising numbers until the load stops.
func (l *load) act(name string, f func(n uint64) error) {
	a := &actor{name: name}
	l.actors = append(l.actors, a)
	l.wg.Go(func() {
		defer a.over.Store(true)
		for n := uint64(0); ; n++ {
			select {
			case <-l.stop:
				return
			default:
			}
			err := f(n)
			switch {
			case err == nil:
				a.acked = append(a.acked, n)
				a.done.Add(1)
			case err == errEnough: //nolint:errorlint // it is only compared here
				return
			case errors.Is(err, connector.ErrInterrupted), errors.Is(err, connector.ErrNoID),
				errors.Is(err, connector.ErrNoPort), errors.Is(err, connector.ErrAgentGone):
			default:
				l.fault("%s: %v", name, err)
				return
			}
		}
	})
}

// progress waits until each actor was acknowledged n more times.
func (l *load) progress(n int64) {
	l.t.Helper()
	for _, a := range l.actors {
		from := a.done.Load()
		eventually(l.t, fmt.Sprintf("%s goes on: %v", a.name, l.wrong), func() bool { return a.over.Load() || a.done.Load() >= from+n })
	}
}

func (l *load) actor(name string) *actor {
	for _, a := range l.actors {
		if a.name == name {
			return a
		}
	}
	return nil
}

// end stops the actors and sends the last number to the groups.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	for _, g := range []uint32{longGroup, shortGroup, plainGroup} {
		require.NoError(l.t, l.pub.Send(l.ctx, connector.Message{ID: sinkID, Data: number(lastNumber, 8)}, connector.Dest{Group: g}))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(l.t, l.wrong)
}
