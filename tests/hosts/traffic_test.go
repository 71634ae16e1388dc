//go:build linux

package hosts

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// unicast sends from a to b all the time.
func unicast(t testing.TB, a, b *host) *stream {
	s := &stream{t: t, from: a.endpoint(), to: b.endpoint()}
	s.dest = connector.Dest{Port: s.to.Port()}
	s.run()
	return s
}

// multicast posts from a to a group in which b is.
func multicast(t testing.TB, a, b *host) *stream {
	s := &stream{t: t, from: a.endpoint(), to: b.endpoint(), dest: connector.Dest{Group: trafficGroup}}
	require.NoError(t, s.to.Join(context.Background(), trafficGroup))
	s.run()
	return s
}

func (s *stream) run() {
	s.why = make(map[string]int)
	s.stop, s.failed, s.got = make(chan struct{}), make(map[uint32]bool), make(map[uint32]bool)
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
			m := connector.Message{ID: cbid.Make(0x300, 1), Seq: s.sent, Data: make([]byte, 100)}
			s.mu.Unlock()
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			err := s.from.Post(short, m, s.dest)
			cancel()
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
	go func() {
		for {
			ev, err := s.to.Recv(ctx)
			if err != nil {
				return
			}
			s.mu.Lock()
			switch ev.Kind {
			case connector.EventMessage:
				n := ev.Msg.Seq
				if s.got[n] {
					s.twice++
				} else if n < s.last {
					s.order++
				}
				s.got[n], s.last = true, n
			case connector.EventLost:
				s.lost += ev.Lost
			}
			s.mu.Unlock()
		}
	}()
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
		for n := uint32(1); n <= s.sent; n++ {
			if !s.got[n] && !s.failed[n] {
				missing++
			}
		}
		even := uint64(missing) == s.lost
		text := fmt.Sprintf("%s: %d sent, %d received, %d failed, %d told as lost, %d missing %v", what, s.sent, len(s.got), len(s.failed), s.lost, missing, s.why)
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
	assert.NoError(s.t, s.to.Close())
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
