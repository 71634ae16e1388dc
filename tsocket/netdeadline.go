package tsocket

import (
	"context"
	"sync"
	"time"
)

// netDeadline is the deadline of one direction of an adapter, as a context. The
// context stays the same until it has ended, so that a socket can keep it armed and
// operations allocate nothing.
type netDeadline struct {
	mu     sync.Mutex // guards all
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// context returns the context of the deadline that is set now. A deadline that
// is set later holds for it too.
func (d *netDeadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current()
}

func (d *netDeadline) current() context.Context {
	if d.ctx == nil {
		d.ctx, d.cancel = context.WithCancel(context.Background())
	}
	return d.ctx
}

func (d *netDeadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.current().Err() != nil {
		d.ctx = nil
		d.current()
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.cancel()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer {
			d.cancel()
		}
	})
	d.timer = timer
}

// drop frees what the deadline holds.
func (d *netDeadline) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
