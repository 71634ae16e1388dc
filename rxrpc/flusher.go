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
//
// Where the application has said when that is (Config.Later), the goroutine is only there for when that is over,
// and for what is left because there is always more.
type flusher struct {
	awake atomic.Bool
	later func(fn func()) bool // nil: the goroutine does it
	run   func()               // what later is given, bound once
	c     chan struct{}
	done  chan struct{}
}

func (f *flusher) init(e *Endpoint) {
	f.c, f.done = make(chan struct{}, 1), make(chan struct{})
	f.later = e.cfg.Later
	f.run = func() {
		f.awake.Store(false)
		e.kick()
	}
}

func (f *flusher) wake() {
	if f.awake.Swap(true) || f.later != nil && f.later(f.run) {
		return
	}
	f.hand()
}

// hand has the goroutine go on, whatever Later is: what waits for what is in the queue may be the goroutine that Later means.
func (f *flusher) hand() {
	select {
	case f.c <- struct{}{}:
	default: // it has not begun yet, and will find all
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
		f.run()
	}
}
