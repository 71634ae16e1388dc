package tsocket

import (
	"context"
	"runtime"
	"time"
)

// Run runs the loop until it is closed, and returns nil then; until ctx ends, with an
// OpError with ErrCanceled or ErrTimeout: the loop is as it was, and can be run again; or until the
// system refuses to wait. Only one Run can run at a time: ErrBusy. It keeps its goroutine on
// one thread.
func (l *Loop) Run(ctx context.Context) error {
	l.mu.Lock()
	switch {
	case l.closing:
		l.mu.Unlock()
		return nil
	case l.running:
		l.mu.Unlock()
		return &OpError{Op: "run", Err: ErrBusy}
	}
	l.running, l.stopped = true, false
	l.pending.Store(1)
	l.mu.Unlock()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() {
			l.mu.Lock()
			l.stopped = true
			l.pending.Store(1)
			l.mu.Unlock()
			l.wake()
		})()
	}
	runtime.LockOSThread()
	l.tid.Store(threadID())
	err := l.turns(ctx)
	l.tid.Store(0)
	runtime.UnlockOSThread()
	l.mu.Lock()
	l.running = false
	closing := l.closing
	l.mu.Unlock()
	if closing {
		l.finish()
		return nil
	}
	return err
}

func (l *Loop) turns(ctx context.Context) error {
	for {
		n, err := l.wait()
		if err != nil {
			return &OpError{Op: "run", Err: err}
		}
		if l.begin != nil {
			l.begin()
		}
		for i := range l.events[:n] {
			l.events[i].seat.handle(l.events[i].ready)
			l.events[i].seat = nil
		}
		l.runTimers()
		if l.next < len(l.batch) || l.pending.Load() != 0 {
			if l.runPosted(ctx) {
				l.endTurn()
				if ctx.Err() != nil {
					return &OpError{Op: "run", Err: ctxError(ctx)}
				}
				return nil
			}
		}
		l.endTurn()
	}
}

func (l *Loop) endTurn() {
	if l.end != nil {
		l.end()
	}
}

// wait waits until there is something to do, and returns how many sockets are
// ready. It looks first: a loop with work to do spares itself the scheduler.
func (l *Loop) wait() (int, error) {
	l.clock = time.Time{}
	if l.next < len(l.batch) || l.pending.Load() != 0 {
		return l.poll.look(l.events)
	}
	if l.look.most > 0 {
		if n, err := l.poll.look(l.events); n > 0 || err != nil {
			return n, err
		}
	}
	if l.look.most > 0 || !l.due.IsZero() {
		l.clock = time.Now()
	}
	if l.look.worthwhile() {
		if n, found := l.lookLonger(); found {
			return n, nil
		}
	}
	return l.sleep()
}

// sleep waits for events, for the next timer, or to be woken.
func (l *Loop) sleep() (int, error) {
	timeout := time.Duration(-1)
	l.sleeping.Store(true)
	// Whoever gave it something to do before that has not woken it.
	if l.pending.Load() != 0 {
		l.sleeping.Store(false)
		return l.poll.look(l.events)
	}
	if !l.due.IsZero() { // a timer may have been stopped: without one, sleeping is cheaper
		l.mu.Lock()
		l.due = l.timers.first()
		l.mu.Unlock()
	}
	if !l.due.IsZero() {
		timeout = max(0, l.due.Sub(l.clock))
	}
	start := l.clock
	n, err := l.poll.wait(l.events, timeout)
	l.sleeping.Store(false)
	if !start.IsZero() {
		took := time.Since(start)
		l.clock = start.Add(took)
		if l.look.most > 0 {
			l.look.slept(took)
		}
	}
	return n, err
}

// runPosted runs what was posted, as far as the budget goes, also what is posted
// meanwhile. It returns true if Run is to return.
func (l *Loop) runPosted(ctx context.Context) (over bool) {
	for range l.budget {
		if l.next == len(l.batch) && !l.refill() {
			break
		}
		l.runOne()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped && ctx.Err() == nil { // an earlier Run was meant
		l.stopped = false
	}
	if l.next == len(l.batch) && len(l.posted) == 0 && !l.stopped && !l.closing {
		l.pending.Store(0)
	}
	l.due = l.timers.first()
	return l.closing || l.stopped
}

// refill takes what was posted.
func (l *Loop) refill() bool {
	clear(l.batch)
	l.next = 0
	l.mu.Lock()
	l.batch, l.posted = l.posted, l.batch[:0]
	l.mu.Unlock()
	return len(l.batch) > 0
}

func (l *Loop) runOne() {
	fn := l.batch[l.next]
	l.batch[l.next] = nil
	l.next++
	fn()
}
