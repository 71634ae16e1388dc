package tsocket

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A Request is an operation that a ...Send method started. It is finished
// exactly once: by the operation, by Cancel, by its deadline or context, or by the
// Close of its socket. All methods may be called at any time and from any goroutine.
//
//	            take                     the operation ended
//	parked ---------------> running -----------------------> done
//	   ^                       |
//	   +-----------------------+  whoever ran it inside Wait gave up waiting
//
// A request that has to wait is parked at first. Who calls Wait runs it on his own
// goroutine; OnDone, Done and, at the latest, a timer of some milliseconds start one for it.
type Request[T any] struct {
	state atomic.Uint32
	val   T // these two are written before state becomes done
	err   error
	post  func(func()) // where callbacks run; nil: on the lane
	lane  *lane        // of its direction; nil: each request has goroutines of its own
	w     *waiting[T]  // nil: it was finished from the start
}

// waiting is what a request needs that is not finished at once.
type waiting[T any] struct {
	job    job[T] // nil when it is finished
	lazy   bool   // the job may be run inside Wait, and be interrupted without loss
	parent context.Context
	loop   loopPart // nil loop: no loop runs it

	mu        sync.Mutex // guards the fields below; nothing is called under it
	cause     error      // why it is being stopped
	running   *reqCtx    // of the operation that runs now
	first     reqCtx     // the first one
	done      chan struct{}
	callbacks []func(*Request[T])
	usual     [1]func(*Request[T]) // the memory of callbacks, as long as there is one
	timer     *time.Timer
	unhook    func() bool // of the parent context
	after     func()      // called when the callbacks have returned
}

const (
	stateParked uint32 = iota
	stateRunning
	stateDone
)

// errInterrupted is what a job returns when its context ended before it did.
var errInterrupted = errors.New("tsocket: interrupted")

// A job is the operation behind a request.
type job[T any] interface {
	// run works until the operation is finished, or returns errInterrupted
	// when ctx has ended. It can be called again, and goes on where it was.
	run(ctx context.Context) (T, error)
	// stop ends an operation that is not running, and will not be run again.
	stop(cause error) (T, error)
	// release frees the slot of the operation. It is the last call.
	release()
}

// finished returns a request that has its result.
func finished[T any](v T, err error) *Request[T] {
	r := &Request[T]{val: v, err: err}
	r.state.Store(stateDone)
	return r
}

// newRequest returns a parked request for j.
func newRequest[T any](ctx context.Context, j job[T], lazy bool) *Request[T] {
	both := &struct {
		Request[T]
		w waiting[T]
	}{}
	r := &both.Request
	r.w = &both.w
	r.w.job, r.w.lazy, r.w.parent, r.w.first.parent = j, lazy, ctx, ctx
	return r
}

// watchParent makes the end of the parent context stop the request.
func (r *Request[T]) watchParent() {
	w := r.w
	if w.parent.Done() == nil {
		return
	}
	stop := context.AfterFunc(w.parent, func() { r.halt(ctxError(w.parent)) })
	w.mu.Lock()
	w.unhook = stop
	w.mu.Unlock()
	if r.state.Load() == stateDone {
		stop()
	}
}

// InProgress reports whether the request has no result yet.
func (r *Request[T]) InProgress() bool { return r.state.Load() != stateDone }

// Result returns what the operation returned, as often as it is asked for, and
// ErrInProgress before that.
func (r *Request[T]) Result() (T, error) {
	if r.InProgress() {
		var zero T
		return zero, &OpError{Op: "result", Err: ErrInProgress}
	}
	return r.val, r.err
}

// OnDone has fn called with the finished request. It never runs inside OnDone or
// the ...Send that made the request, and when it runs, the slot of the operation
// is free: fn may start the next one. Each fn is called once, in the order they were given, on a
// goroutine of the request's socket. That goroutine goes on with what fn leaves to be done, the next
// request of the direction and its callbacks, when fn has returned: it should not wait for these. If
// it does, another one takes over after some milliseconds.
func (r *Request[T]) OnDone(fn func(*Request[T])) {
	if w := r.w; w != nil {
		w.mu.Lock()
		if r.state.Load() != stateDone {
			if w.callbacks == nil {
				w.callbacks = w.usual[:0]
			}
			w.callbacks = append(w.callbacks, fn)
			w.mu.Unlock()
			if !w.lazy || r.lane == nil || !r.lane.offer(r) {
				r.promote()
			}
			return
		}
		w.mu.Unlock()
	}
	switch {
	case r.post != nil:
		r.post(func() { fn(r) })
	case r.lane == nil:
		go fn(r)
	default:
		c := &call[T]{r: r, fn: fn}
		if !r.lane.offer(c) {
			r.lane.promote([]task{c})
		}
	}
}

// Done returns a channel that is closed when the request is finished.
func (r *Request[T]) Done() <-chan struct{} {
	w := r.w
	if w == nil {
		return alreadyClosed
	}
	w.mu.Lock()
	if w.done == nil {
		if w.done = alreadyClosed; r.state.Load() != stateDone {
			w.done = make(chan struct{})
		}
	}
	c := w.done
	w.mu.Unlock()
	r.promote()
	return c
}

var alreadyClosed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Wait waits for the result. The end of ctx ends the waiting, with
// ErrCanceled or ErrTimeout, and not the request.
func (r *Request[T]) Wait(ctx context.Context) (T, error) {
	if r.state.Load() == stateDone {
		return r.val, r.err
	}
	if r.w.lazy && ctx.Err() == nil && r.take() {
		if r.runInline(ctx) {
			return r.val, r.err
		}
	}
	if r.w.loop.mustNotWait() && ctx.Err() == nil && r.take() {
		if r.runInline(ctx) {
			return r.val, r.err
		}
	}
	select {
	case <-r.Done():
		return r.val, r.err
	case <-ctx.Done():
		var zero T
		return zero, &OpError{Op: "wait", Err: ctxError(ctx)}
	}
}

// SetDeadline has the request fail with ErrTimeout at t; the zero Time takes
// the deadline away.
func (r *Request[T]) SetDeadline(t time.Time) {
	w := r.w
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if t.IsZero() || r.state.Load() == stateDone {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(t), func() {
		w.mu.Lock()
		current := w.timer == timer
		w.mu.Unlock()
		if current {
			r.halt(ErrTimeout)
		}
	})
	w.timer = timer
}

// Cancel asks the operation to stop. It returns false if there was nothing to
// stop any more. Otherwise the request fails with ErrCanceled, unless the
// operation finishes in the same moment: Result tells.
//
// A stream operation that has moved bytes already cannot be undone: its error is
// an *OpError with N and Poisoned set (see Stream.SetCancelRule).
func (r *Request[T]) Cancel() bool { return r.halt(ErrCanceled) }

// halt stops the request for that cause.
func (r *Request[T]) halt(cause error) bool {
	w := r.w
	if w == nil {
		return false
	}
	w.mu.Lock()
	if r.state.Load() == stateDone {
		w.mu.Unlock()
		return false
	}
	if w.cause == nil {
		w.cause = cause
	}
	running := w.running
	w.mu.Unlock()
	if r.take() {
		v, err := w.job.stop(cause)
		r.finish(v, err, nil, true)
	} else if running != nil {
		running.cancel(contextErr(cause))
	}
	return true
}

// contextErr is how a context says that cause.
func contextErr(cause error) error {
	if isErr(cause, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// take gives the caller the right to run or to finish the request.
func (r *Request[T]) take() bool { return r.state.CompareAndSwap(stateParked, stateRunning) }

// promote starts a goroutine for a parked request.
func (r *Request[T]) promote() {
	if r.w.lazy && r.take() {
		go r.runToEnd()
	}
}

// runToEnd is the goroutine of a request that the caller has taken.
func (r *Request[T]) runToEnd() {
	if r.lane != nil {
		r.lane.work(r)
	} else {
		r.do(nil)
	}
}

// do runs a request that the caller has taken, on the goroutine h of its lane
// if it has one, and then its callbacks.
func (r *Request[T]) do(h *host) {
	if r.lane == nil {
		h = nil
	}
	if h != nil {
		r.lane.resign(h) // nobody knows how long it takes
	}
	w := r.w
	c, cause := r.begin()
	if cause != nil {
		v, err := w.job.stop(cause)
		r.finish(v, err, h, false)
		return
	}
	v, err := w.job.run(c)
	if err == errInterrupted {
		w.mu.Lock()
		cause = w.cause
		w.mu.Unlock()
		v, err = w.job.stop(cause)
	}
	r.finish(v, err, h, false)
}

// begin makes the context of a run, unless the request is to be stopped.
func (r *Request[T]) begin() (*reqCtx, error) {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return nil, w.cause
	}
	c := &w.first
	if w.running != nil {
		c = &reqCtx{parent: w.parent}
	}
	w.running = c
	return c, nil
}

// runInline runs a request that the caller has taken on his goroutine, until it
// is finished (true) or ctx ends: then it goes on on a goroutine of its own.
func (r *Request[T]) runInline(ctx context.Context) bool {
	c, cause := r.begin()
	if cause != nil {
		v, err := r.w.job.stop(cause)
		r.finish(v, err, nil, true)
		return true
	}
	var unhook func() bool
	if ctx.Done() != nil {
		unhook = context.AfterFunc(ctx, func() { c.cancel(context.Canceled) })
	}
	v, err := r.w.job.run(c)
	if unhook != nil {
		unhook()
	}
	if err == errInterrupted {
		if r.w.loop.seat != nil {
			r.giveBack()
		} else {
			go r.runToEnd() // which looks at the cause first
		}
		return false
	}
	r.finish(v, err, nil, true)
	return true
}

// finish makes the result known: first the slot is freed, then whoever waits
// hears of it, then the callbacks run: on the goroutine h of the lane, elsewhere when the
// caller's goroutine is not the request's own.
func (r *Request[T]) finish(v T, err error, h *host, elsewhere bool) {
	callbacks, after := r.settle(v, err)
	switch {
	case len(callbacks) == 0:
		if after != nil {
			after()
		}
	case r.post != nil:
		r.post(func() { r.call(callbacks, after) })
	case elsewhere:
		go r.call(callbacks, after)
	default:
		if h != nil {
			r.lane.become(h)
		}
		r.call(callbacks, after)
	}
}

// settle is finish but for the callbacks.
func (r *Request[T]) settle(v T, err error) (callbacks []func(*Request[T]), after func()) {
	w := r.w
	r.val, r.err = v, err
	w.job.release()
	w.mu.Lock()
	r.state.Store(stateDone)
	callbacks, after = w.callbacks, w.after
	done, timer, unhook := w.done, w.timer, w.unhook
	w.callbacks, w.timer, w.unhook, w.job, w.running = nil, nil, nil, nil, nil
	w.mu.Unlock()
	if done != nil {
		close(done)
	}
	if timer != nil {
		timer.Stop()
	}
	if unhook != nil {
		unhook()
	}
	return callbacks, after
}

func (r *Request[T]) call(callbacks []func(*Request[T]), after func()) {
	for _, fn := range callbacks {
		fn(r)
	}
	if after != nil {
		after()
	}
}

// setAfter has fn called once, when the request is finished and its callbacks
// have returned; at once if that is so already.
func (r *Request[T]) setAfter(fn func()) {
	if w := r.w; w != nil {
		w.mu.Lock()
		if r.state.Load() != stateDone {
			w.after, fn = fn, nil
		}
		w.mu.Unlock()
	}
	if fn != nil {
		fn()
	}
}
