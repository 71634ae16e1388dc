package rxrpc

import (
	"runtime"
	"sync/atomic"
)

// A flusher is a goroutine that runs the queue of its endpoint a moment after it
// was woken: when everything that was ready to run by then has had its turn, and has
// added to the queue what it wanted. So the requests of many callers whose replies came in one
// batch leave in one batch. Whoever submits something without running the queue wakes it, so
// that nothing waits for the others longer than that.
type flusher struct {
	awake atomic.Bool
	c     chan struct{}
	done  chan struct{}
}

func (f *flusher) wake() {
	if !f.awake.Swap(true) {
		f.c <- struct{}{} // there is room: awake was false
	}
}

func (e *Endpoint) flushLoop() {
	f := &e.flusher
	defer close(f.done)
	for {
		select {
		case <-f.c:
		case <-e.quit:
			return
		}
		runtime.Gosched()
		f.awake.Store(false)
		e.kick()
	}
}
