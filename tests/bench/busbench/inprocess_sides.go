package busbench

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// counter is a callback that does next to nothing, and knows when it has run often enough.
// It has cache lines of its own.
type counter struct {
	_    [64]byte
	n    int64
	want int64
	sum  uint64
	done chan struct{}
	_    [64]byte
}

func (c *counter) expect(n int) <-chan struct{} {
	c.n, c.want, c.done = 0, int64(n), make(chan struct{})
	return c.done
}

// one is the work of a callback that never runs twice at a time: adding two numbers.
func (c *counter) one(m *connector.Message) {
	c.sum += uint64(m.Seq) + uint64(len(m.Data))
	c.n++
	if c.n == c.want {
		close(c.done)
	}
}

// oneOfMany is the same for a callback that may.
func (c *counter) oneOfMany(m *connector.Message) {
	atomic.AddUint64(&c.sum, uint64(m.Seq)+uint64(len(m.Data)))
	if atomic.AddInt64(&c.n, 1) == c.want {
		close(c.done)
	}
}

// Handle is our callback: those of one id run one at a time.
func (c *counter) Handle(_ context.Context, d *connector.Delivery) { c.one(&d.Msg) }

// lockedSide is what one would write in a few lines: a map under a read-write
// lock. It promises neither order nor one call at a time.
type lockedSide struct {
	mu       sync.RWMutex
	handlers map[cbid.ID]func(*connector.Message)
	counters [inProcessIDs]counter
}

// newLockedSide makes the callbacks such that several publishers may send to one id if
// shared, otherwise without what that costs.
func newLockedSide(shared bool) *lockedSide {
	s := &lockedSide{handlers: make(map[cbid.ID]func(*connector.Message))}
	for i := range s.counters {
		s.handlers[inProcessID(i)] = s.counters[i].one
		if shared {
			s.handlers[inProcessID(i)] = s.counters[i].oneOfMany
		}
	}
	return s
}

func (s *lockedSide) expect(id cbid.ID, n int) <-chan struct{} { return s.counters[id.Val].expect(n) }

func (s *lockedSide) publish(m *connector.Message) bool {
	s.mu.RLock()
	h, ok := s.handlers[m.ID]
	s.mu.RUnlock()
	if ok {
		h(m)
	}
	return ok
}

func (s *lockedSide) publisher(context.Context) (func(cbid.ID, int) error, error) {
	return func(id cbid.ID, n int) error {
		m := inProcessMessage(id)
		for range n {
			if !s.publish(&m) {
				return connector.ErrNoID
			}
		}
		return nil
	}, nil
}
