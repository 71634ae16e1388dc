package client

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lookout is for the reads of an endpoint: each is made with its context of the
// moment, which ends when whoever reads should look around. Whoever was woken calls renew
// first and looks then, so that no reason is missed; a wake-up for somebody else is a look
// too many.
type lookout struct{ cur atomic.Pointer[watch] }

// renew begins a new context.
func (l *lookout) renew() { l.cur.Store(&watch{done: make(chan struct{})}) }

func (l *lookout) context() context.Context { return l.cur.Load() }

// wake makes the read that is running, or the next one, fail with
// context.Canceled.
func (l *lookout) wake() { l.cur.Load().end() }

// watch is a context that costs less to make, to wait for and to end than one of
// package context: a sender that fills the socket again and again needs a new one each time.
type watch struct {
	done  chan struct{}
	ended atomic.Bool

	mu    sync.Mutex // guards hooks, and that they are called once
	hooks []*func()
}

func (w *watch) end() {
	if w.ended.Load() {
		return
	}
	w.mu.Lock()
	if w.ended.Swap(true) {
		w.mu.Unlock()
		return
	}
	close(w.done)
	hooks := w.hooks
	w.hooks = nil
	w.mu.Unlock()
	for _, f := range hooks {
		(*f)()
	}
}

func (w *watch) Deadline() (time.Time, bool) { return time.Time{}, false }
func (w *watch) Value(any) any               { return nil }
func (w *watch) Done() <-chan struct{}       { return w.done }

func (w *watch) Err() error {
	if w.ended.Load() {
		return context.Canceled
	}
	return nil
}

// AfterFunc is what takes the place of context.AfterFunc. f is called by who
// wakes, and holds no locks.
func (w *watch) AfterFunc(f func()) (stop func() bool) {
	key := &f
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended.Load() {
		go f() // this caller may hold some
		return func() bool { return false }
	}
	w.hooks = append(w.hooks, key)
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		i := slices.Index(w.hooks, key)
		if i >= 0 {
			w.hooks = slices.Delete(w.hooks, i, i+1)
		}
		return i >= 0
	}
}

// ctxArm makes the end of a caller's context wake the reader.
//
// The context of the last use stays armed, so that a loop of calls with the
// same one registers it once. Only the holder of the reading side uses it.
type ctxArm struct {
	done <-chan struct{}
	stop func() bool
}

// arm prepares for a read under ctx.
func (a *ctxArm) arm(ctx context.Context, l *lookout) {
	done := ctx.Done()
	if done == nil || done == a.done {
		return
	}
	a.disarm()
	a.done, a.stop = done, context.AfterFunc(ctx, l.wake)
}

func (a *ctxArm) disarm() {
	if a.stop != nil {
		a.stop()
	}
	*a = ctxArm{}
}
