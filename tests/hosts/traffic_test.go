//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// stream is counted traffic from an endpoint on one host to one on another.
type stream struct {
	t        testing.TB
	from, to connector.Endpoint
	dest     connector.Dest
	id       cbid.ID
	confirm  bool // by Send
	stop     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	sent   uint32
	failed map[uint32]bool
	got    map[uint32]bool
	twice  int
	order  int
	last   uint32
	lost   uint64         // told by EventLost
	why    map[string]int // of the failures
}

const trafficGroup = 0x300

var trafficID = cbid.Make(0x300, 1)

// unicast sends from a to b all the time.
func unicast(t testing.TB, a, b *host) *stream {
	s := &stream{t: t, from: a.endpoint(), to: b.endpoint(), id: trafficID}
	s.dest = connector.Dest{Port: s.to.Port()}
	s.run()
	return s
}

// multicast posts from a to a group in which b is.
func multicast(t testing.TB, a, b *host) *stream {
	s := &stream{t: t, from: a.endpoint(), to: b.endpoint(), id: trafficID, dest: connector.Dest{Group: trafficGroup}}
	require.NoError(t, s.to.Join(context.Background(), trafficGroup))
	s.run()
	return s
}

// agents numbers the ids of confirmed and durable.
var agents atomic.Uint32

// confirmed sends from a to an agent on b, which is found again where its broker was restarted: what was confirmed
// has arrived, and once; what was not may have.
func confirmed(t testing.TB, a, b *host) *stream {
	s := &stream{t: t, from: a.endpoint(), confirm: true, id: cbid.Make(0x2ff, agents.Add(1))}
	s.begin()
	bus := b.dial("counting agent")
	require.NoError(t, b.inContact(func() error {
		return connector.AddSiteCallback(context.Background(), bus, s.id, "count", connector.HandlerFunc(func(_ context.Context, d *connector.Delivery) {
			s.mu.Lock()
			s.take(d.Msg.Seq)
			s.mu.Unlock()
		}), connector.SiteOptions{})
	}))
	s.found(a)
	s.run()
	return s
}

// found waits until the id is known to a: a bad network may take longer to tell of it than who registers is let wait.
func (s *stream) found(a *host) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.from.Send(ctx, connector.Message{ID: s.id}, s.dest)
		if !errors.Is(err, connector.ErrNoID) {
			require.NoError(s.t, err)
			break
		}
		a.w.pause(ctx, "the id is known")
	}
	s.mu.Lock()
	clear(s.got)
	s.mu.Unlock()
}

func (s *stream) begin() {
	s.why = make(map[string]int)
	s.stop, s.failed, s.got = make(chan struct{}), make(map[uint32]bool), make(map[uint32]bool)
}

// take takes note of a message; mu is held.
func (s *stream) take(n uint32) {
	if s.got[n] {
		s.twice++
	} else if n < s.last {
		s.order++
	}
	s.got[n], s.last = true, n
}

func (s *stream) run() {
	if s.stop == nil {
		s.begin()
	}
	ctx := context.Background()
	s.wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			s.mu.Lock()
			s.sent++
			m := connector.Message{ID: s.id, Seq: s.sent, Data: make([]byte, 100)}
			s.mu.Unlock()
			err := s.send(ctx, m)
			if err != nil {
				s.mu.Lock()
				s.failed[m.Seq] = true // it waited for room, and was not sent
				s.why[err.Error()]++
				s.mu.Unlock()
			}
		}
	})
	go func() { // ends when its endpoint closes
		for {
			ev, err := s.from.Recv(ctx)
			if err != nil {
				return
			}
			if ev.Kind == connector.EventFailed {
				s.mu.Lock()
				s.failed[ev.Msg.Seq] = true
				s.why[ev.Err.Error()]++
				s.mu.Unlock()
			}
		}
	}()
	if s.to == nil {
		return
	}
	go func() {
		for {
			ev, err := s.to.Recv(ctx)
			if err != nil {
				return
			}
			s.mu.Lock()
			switch ev.Kind {
			case connector.EventMessage:
				s.take(ev.Msg.Seq)
			case connector.EventLost:
				s.lost += ev.Lost
			}
			s.mu.Unlock()
		}
	}()
}

func (s *stream) send(ctx context.Context, m connector.Message) error {
	if s.confirm {
		return s.from.Send(ctx, m, s.dest)
	}
	short, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	return s.from.Post(short, m, s.dest)
}

// end stops the sending and waits until every message is accounted for: it is there once, or was reported. exact says that none may
// have been reported.
func (s *stream) end(what string, exact bool) {
	s.t.Helper()
	close(s.stop)
	s.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		missing := 0
		var which []uint32
		for n := uint32(1); n <= s.sent; n++ {
			if !s.got[n] && !s.failed[n] {
				if missing++; missing <= 5 {
					which = append(which, n)
				}
			}
		}
		even := uint64(missing) == s.lost
		text := fmt.Sprintf("%s: %d sent, %d received, %d failed, %d told as lost, %d missing (first %v) %v", what, s.sent, len(s.got), len(s.failed), s.lost, missing, which, s.why)
		if even {
			s.t.Log(text)
			assert.NotZero(s.t, len(s.got), text)
			assert.Zero(s.t, s.twice, "%s: received twice", what)
			assert.Zero(s.t, s.order, "%s: out of order", what)
			if exact {
				assert.Zero(s.t, len(s.failed), text)
				assert.Zero(s.t, s.lost, text)
			}
			s.mu.Unlock()
			break
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			require.FailNow(s.t, "not accounted for", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
	assert.NoError(s.t, s.from.Close())
	if s.to != nil {
		assert.NoError(s.t, s.to.Close())
	}
}

// passes waits until n more messages have come.
func (s *stream) passes(n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.mu.Lock()
	want := len(s.got) + n
	s.mu.Unlock()
	for {
		s.mu.Lock()
		enough := len(s.got) >= want
		s.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-ctx.Done():
			require.FailNow(s.t, "no traffic")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// changes follows an id on a host.
type changes struct {
	t  testing.TB
	w  connector.Watcher
	id cbid.ID
}

func watch(t testing.TB, h *host, id cbid.ID) *changes {
	w, err := connector.Watch(context.Background(), h.dial("watch"), cbid.SetOf(id))
	require.NoError(t, err)
	return &changes{t, w, id}
}

// until waits for a change of that kind and returns what came before it.
func (c *changes) until(kinds ...connector.ChangeKind) connector.ChangeKind {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		ch, err := c.w.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			require.FailNow(c.t, "no such change", "%v", kinds)
		}
		require.NoError(c.t, err)
		for _, k := range kinds {
			if ch.Kind == k {
				return k
			}
		}
	}
}
