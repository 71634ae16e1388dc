package tsocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Loop is a reactor: it waits for any number of sockets at once and calls back on one
// goroutine, that of Run. Nothing that it calls runs at the same time as anything else that it
// calls: functions given to Post, Do and AfterFunc, handlers of Watch, and the callbacks of the
// requests of attached sockets. It is the cheapest way to run many sockets, and the way of
// who knows tevent; a callback that takes long, or blocks, holds up all of them.
//
// All methods may be called from any goroutine, and from callbacks.
//
// The loop goes round in turns. In one turn every socket that is ready gets one call, and so do
// timers that are due and functions that were posted, up to a number of each (LoopConfig.Budget):
// what makes work for itself without end, as a socket that is always readable or a function that
// posts itself, does not keep the others from theirs. In C it does.
type Loop struct {
	poll    poller
	look    looker
	budget  int
	begin   func()
	end     func()
	poster  func(func()) // l.deliver
	oneShot bool         // as the poller says
	tid     atomic.Int64 // of the thread that runs it, 0 if none

	sleeping atomic.Bool  // wants a wake-up
	pending  atomic.Int32 // whether somebody else has given it something to do: posted, a timer, an end

	mu      sync.Mutex // guards the fields below; nothing is called under it
	posted  []func()
	timers  timerHeap
	seats   *seat              // a list
	guests  map[guest]struct{} // attached, but not waited for here
	running bool
	stopped bool // the context of Run has ended
	closing bool // Close was called
	closed  bool // and nothing is left to be done
	late    strand

	batch  []func() // being run, by the loop only; batch[:next] has been
	next   int
	events []event
	due    time.Time // of the first timer, as of the last look
	clock  time.Time // the time, if this turn has looked, and not long ago
}

// guest is an attached socket that is no descriptor.
type guest interface{ Close() error }

// LoopConfig is how a loop works. nil is all defaults.
type LoopConfig struct {
	// Look lets the loop look for work that long before it sleeps, while that has lately
	// paid: to be woken costs a good part of a short exchange. Between looks it yields its core.
	// 0: it sleeps at once. 20 µs is a good value for a server that answers quickly.
	Look time.Duration

	// Budget is how many timers, and how many posted functions, run in one turn at most;
	// 0 means 64.
	Budget int

	// BeginTurn and EndTurn are called on the loop before and after whatever it calls in
	// one turn. A server that gathers its output writes it in EndTurn.
	BeginTurn, EndTurn func()
}

const defaultBudget = 64

// NewLoop makes a loop. It needs Run to do anything, and Close to free it.
func NewLoop(c *LoopConfig) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, &OpError{Op: "loop", Err: err}
	}
	return newLoop(c, p), nil
}

func newLoop(c *LoopConfig, p poller) *Loop {
	if c == nil {
		c = &LoopConfig{}
	}
	l := &Loop{
		poll: p, budget: c.Budget, begin: c.BeginTurn, end: c.EndTurn,
		guests: make(map[guest]struct{}),
		events: make([]event, maxEvents),
	}
	l.look.most = c.Look
	if l.budget <= 0 {
		l.budget = defaultBudget
	}
	l.poster, l.oneShot = l.deliver, p.oneShot()
	return l
}

// Post has fn called on the loop. It returns false if the loop is closed: fn is
// not called then. Functions are called in the order they were posted, after the call of Post
// has returned. What was posted before Close is called.
func (l *Loop) Post(fn func()) bool {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, fn)
	l.pending.Store(1)
	l.mu.Unlock()
	l.wake()
	return true
}

// deliver is Post for the callbacks of requests: they are called whatever happens, one at a
// time, also when the loop is closed.
func (l *Loop) deliver(fn func()) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.late.post(fn)
		return
	}
	l.posted = append(l.posted, fn)
	l.pending.Store(1)
	l.mu.Unlock()
	l.wake()
}

// wake ends the sleep of the loop, if it sleeps.
func (l *Loop) wake() {
	if l.sleeping.Load() && l.sleeping.CompareAndSwap(true, false) {
		l.poll.wake()
	}
}

// Do calls fn on the loop and waits until it has returned; on the loop itself it
// just calls fn. The OpError's Err is ErrClosed, or ErrCanceled or ErrTimeout when ctx has ended: fn
// is still called then, if its turn comes.
func (l *Loop) Do(ctx context.Context, fn func()) error {
	if l.inside() {
		fn()
		return nil
	}
	ran := make(chan struct{})
	if !l.Post(func() { fn(); close(ran) }) {
		return &OpError{Op: "do", Err: ErrClosed}
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return &OpError{Op: "do", Err: ctxError(ctx)}
	}
}

// inside reports whether the caller is called by the loop.
func (l *Loop) inside() bool {
	tid := l.tid.Load()
	return tid != 0 && tid == threadID()
}

// Inside reports whether the caller is called by the loop. Where threads have no number it is always false.
func (l *Loop) Inside() bool { return l.inside() }

// Close ends the loop. Every attached socket is closed, so that whatever is outstanding
// fails with ErrClosed, and their callbacks are called; what was posted is called, timers are not. If
// Run is running, it does that and returns; otherwise Close does it. What comes later, of sockets without a
// descriptor or of callbacks that start further operations, is called on a goroutine, one at a time. Further
// calls of Close do nothing.
func (l *Loop) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return nil
	}
	l.closing = true
	l.pending.Store(1)
	running := l.running
	l.mu.Unlock()
	if running {
		l.wake()
	} else {
		l.finish()
	}
	return nil
}

// finish closes whatever is attached and calls what is left to be called. Close
// was called, and Run is not running any more.
func (l *Loop) finish() {
	for {
		l.mu.Lock()
		var sockets []interface{ Close() error }
		for l.seats != nil {
			sockets = append(sockets, l.seats.owner)
			l.unlink(l.seats)
		}
		for g := range l.guests {
			sockets = append(sockets, g)
		}
		clear(l.guests)
		l.timers = nil
		l.mu.Unlock()
		for _, s := range sockets {
			_ = s.Close()
		}
		if len(sockets) == 0 {
			break
		}
	}
	for l.next < len(l.batch) {
		l.runOne()
	}
	// What the last callbacks bring about, if they go on starting operations that
	// fail, is not waited for.
	l.mu.Lock()
	l.closed = true
	l.batch, l.next, l.posted = l.posted, 0, nil
	l.late.hold()
	l.mu.Unlock()
	for l.next < len(l.batch) {
		l.runOne()
	}
	l.batch = nil
	l.late.resume()
	l.poll.close()
}
