package tsocket

import (
	"context"
	"sync"
	"time"
)

// past is a deadline that has passed, however the clock is set.
var past = time.Unix(1, 0)

// An arm interrupts the operation of one direction of a descriptor: when its
// context ends, or when the peer goes while a write waits. It does so with a deadline in the
// past, and takes that away before the next operation.
//
// The context of the last operation stays armed, so that a loop of operations
// with the same one registers it once and allocates nothing.
type arm struct {
	kick func(deadline time.Time) // sets the deadline of that direction

	mu     sync.Mutex // guards what follows against fire and close
	active bool       // an operation that wants to be interrupted runs
	fired  bool       // its deadline is set
	closed bool       // there will be no more operations
	armed  bool       // active, as the operation of that direction, of which there is one, knows it
	stop   func() bool

	// Only that operation uses these.
	done <-chan struct{} // of the context that is armed
	req  *reqCtx
}

// begin prepares for an operation under ctx; false if ctx has ended.
func (a *arm) begin(ctx context.Context) bool {
	if r, ok := ctx.(*reqCtx); ok {
		a.activate()
		if !r.attach(a) {
			a.end()
			return false
		}
		a.req = r
		return true
	}
	done := ctx.Done()
	if done == nil {
		return true
	}
	a.activate()
	if done != a.done {
		a.hold(nil)
		a.done = done
		a.hold(afterFunc(ctx, a.fire))
	}
	// A context that ends from here on finds the arm active.
	if ctx.Err() != nil {
		a.end()
		return false
	}
	return true
}

// afterFunc is context.AfterFunc; a context that has a way of its own is spared
// the goroutine and the object in between. f is short and may run anywhere.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(interface {
		AfterFunc(func()) (stop func() bool)
	}); ok {
		return c.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// activate makes fire do something.
func (a *arm) activate() {
	if a.armed {
		return
	}
	a.armed = true
	a.mu.Lock()
	a.active = true
	a.mu.Unlock()
}

// end ends what begin and activate began. No deadline is left behind.
func (a *arm) end() {
	if !a.armed {
		return
	}
	if a.req != nil {
		a.req.detach()
		a.req = nil
	}
	a.armed = false
	a.mu.Lock()
	a.active = false
	if a.fired {
		a.fired = false
		a.kick(time.Time{})
	}
	a.mu.Unlock()
}

// fire interrupts the operation that runs, if any.
func (a *arm) fire() {
	a.mu.Lock()
	if a.active && !a.fired {
		a.fired = true
		a.kick(past)
	}
	a.mu.Unlock()
}

// isFired reports whether the operation that runs has been interrupted.
func (a *arm) isFired() bool {
	if !a.armed {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fired
}

// hold keeps stop, which lets go of the context that is armed now, in place of the
// one before, which it calls.
func (a *arm) hold(stop func() bool) {
	a.mu.Lock()
	before := a.stop
	a.stop = stop
	if a.closed {
		a.stop = nil
	}
	closed := a.closed
	a.mu.Unlock()
	if before != nil {
		before()
	}
	if closed && stop != nil {
		stop()
	}
}

// close lets go of the context that is armed, for good: one that outlives many
// sockets must not hold on to them all. An operation that runs is woken by other means.
func (a *arm) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.hold(nil)
}
