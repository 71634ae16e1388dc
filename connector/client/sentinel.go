package client

import (
	"sync/atomic"
	"time"
)

// sentinel watches over the reader of an agent while it runs a callback in its
// own goroutine, and lets another goroutine read when that takes long.
//
// A timer for each batch would do the same, but to arm one wakes another
// thread of the runtime: two more changes of threads in each round trip. So there is one goroutine that
// looks every tick, and sleeps when nothing has happened for some of them.
type sentinel struct {
	beat  atomic.Uint64 // odd while the reader runs a callback; changes with each
	awake atomic.Bool
	wake  chan struct{}
	cur   atomic.Pointer[agentReader] // that is inside
}

// tick is how often the sentinel looks. A callback holds up the others for
// two of them at most.
const (
	tick     = time.Millisecond
	restless = 3 // ticks without news before it sleeps
)

// enter is called by the reader before it runs a callback; the beat it returns
// is for leave.
func (s *sentinel) enter(r *agentReader) uint64 {
	s.cur.Store(r)
	b := s.beat.Add(1)
	if !s.awake.Load() && s.awake.CompareAndSwap(false, true) {
		s.wake <- struct{}{} // has room: the sentinel takes it before it sleeps again
	}
	return b
}

// leave returns false when another goroutine has become the reader.
func (s *sentinel) leave(b uint64) bool { return s.beat.CompareAndSwap(b, b+1) }

// watch is the sentinel's goroutine. It ends with the agent's context.
func (a *agent) watch(s *sentinel) {
	defer a.wg.Done()
	t := time.NewTicker(tick)
	defer t.Stop()
	var last uint64
	still := 0
	for {
		select {
		case <-t.C:
		case <-a.ctx.Done():
			return
		}
		b := s.beat.Load()
		if b != last {
			last, still = b, 0
			continue
		}
		if b&1 == 1 {
			r := s.cur.Load()
			a.wg.Add(1) // for replace; this goroutine keeps the count up
			if s.beat.CompareAndSwap(b, b+1) {
				go r.replace()
			} else {
				a.wg.Done()
			}
			continue
		}
		if still++; still < restless {
			continue
		}
		t.Stop()
		s.awake.Store(false)
		if s.beat.Load() == last || !s.awake.CompareAndSwap(false, true) {
			select {
			case <-s.wake:
			case <-a.ctx.Done():
				return
			}
		}
		still = 0
		t.Reset(tick)
	}
}
