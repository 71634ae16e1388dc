package connector

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Entry is one registration of a callback.
//
// Whoever sets running in state is the runner: it alone calls the handler and touches
// the fields below "runner only", until it clears running again. The two compare-and-swaps
// that begin and end an uncontended run are all the synchronisation it costs.
type Entry struct {
	r        *Registry
	info     IDInfo
	handler  Handler
	interest InterestHandler // handler, if it is one
	ctx      context.Context // the handler's

	_ [64]byte // entries of different ids must not share a cache line that is written

	state atomic.Uint64 // flags below; from bit 8 on: messages handled

	// Runner only.
	d     Delivery // the message being handled
	told  int8     // interest last told: 1 somebody, -1 nobody, 0 not yet
	taken *mailbox // items that are being handled
	next  int      // the first of them that is not

	panics atomic.Uint64

	mu       sync.Mutex // guards what follows
	box      *mailbox   // nil when empty
	waiters  []*waiter  // senders waiting for room; only while box is full
	wantRoom bool       // Enqueue has reported the mailbox full
	drained  chan struct{}

	_ [64]byte
}

// Flags of Entry.state. queued is changed under mu only.
const (
	stateRunning = 1 << iota // somebody is the runner
	stateQueued              // box is not empty; only together with running
	stateRemoved             // takes no more messages

	stateFlags = stateRunning | stateQueued | stateRemoved
	oneHandled = 1 << 8 // one message handled
)

type entryKey struct{}

func newEntry(r *Registry, info IDInfo, h Handler) *Entry {
	e := &Entry{r: r, info: info, handler: h, drained: make(chan struct{})}
	e.interest, _ = h.(InterestHandler)
	e.ctx = context.WithValue(r.ctx, entryKey{}, e)
	return e
}

// within reports whether ctx is, or derives from, the one that e gives to its handler.
func (e *Entry) within(ctx context.Context) bool { return ctx.Value(entryKey{}) == any(e) }

// Info returns the description given to Add, with the group.
func (e *Entry) Info() IDInfo { return e.info }

// Handled is how many messages the handler was called with.
func (e *Entry) Handled() uint64 { return e.state.Load() / oneHandled }

// Panics is how many calls of the handler panicked.
func (e *Entry) Panics() uint64 { return e.panics.Load() }

// Queued is how many messages the mailbox holds, without those that a runner has
// already taken from it.
func (e *Entry) Queued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.box.len()
}

// deliver is Registry.Deliver for this entry. A removed one gives ErrNoID itself.
func (e *Entry) deliver(ctx context.Context, m *Message, from *From, call bool, via Replier, full WhenFull) error {
	s := e.state.Load()
	if s&stateFlags != 0 || !e.state.CompareAndSwap(s, s|stateRunning) {
		return e.deliverBusy(ctx, &Delivery{Msg: *m, From: *from, Call: call, Via: via}, full)
	}
	e.d.Msg, e.d.From, e.d.Call, e.d.Via = *m, *from, call, via
	e.call()
	e.d.Msg.Data, e.d.Via = nil, nil
	if !e.state.CompareAndSwap(s|stateRunning, s+oneHandled) {
		e.state.Add(oneHandled)
		e.run(true)
	}
	return nil
}

func (e *Entry) deliverBusy(ctx context.Context, d *Delivery, full WhenFull) error {
	e.mu.Lock()
	for {
		s := e.state.Load()
		switch {
		case s&stateRemoved != 0:
			e.mu.Unlock()
			return ErrNoID
		case s&stateRunning == 0:
			if !e.state.CompareAndSwap(s, s|stateRunning) {
				continue
			}
			e.mu.Unlock()
			e.handle(d)
			e.run(true)
			return nil
		case !e.full():
			if e.mark(s) {
				e.push().copy(d)
				e.mu.Unlock()
				return nil
			}
		case full == FullDrop || e.within(ctx):
			e.mu.Unlock()
			return e.sendError(fmt.Errorf("%d messages are waiting: %w", e.r.config.Queue, ErrWouldBlock))
		default:
			w := &waiter{d: *d, done: make(chan error, 1)}
			e.waiters = append(e.waiters, w)
			e.mu.Unlock()
			return e.wait(ctx, w)
		}
	}
}

// mark sets queued on behalf of something about to be put in the mailbox, mu held. It
// fails when the runner has just left.
func (e *Entry) mark(s uint64) bool {
	return s&stateQueued != 0 || e.state.CompareAndSwap(s, s|stateQueued)
}

func (e *Entry) sendError(err error) error {
	return &OpError{Op: "send", ID: e.info.ID, HasID: true, Err: err}
}

// call runs the handler with e.d.
func (e *Entry) call() {
	done := false
	defer func() {
		if !done {
			e.failed(recover(), oneHandled)
		}
	}()
	e.handler.Handle(e.ctx, &e.d)
	done = true
}

// tell runs the handler's Interest, unless it knows already.
func (e *Entry) tell(interest int8) {
	if e.told == interest {
		return
	}
	e.told = interest
	done := false
	defer func() {
		if !done {
			e.failed(recover(), 0)
		}
	}()
	e.interest.Interest(e.ctx, e.info.Group, interest > 0)
	done = true
}

// handle runs the handler with d and counts it.
func (e *Entry) handle(d *Delivery) {
	e.d = *d
	e.call()
	e.d.Msg.Data, e.d.Via = nil, nil
	e.state.Add(oneHandled)
}

// failed deals with a handler that did not return. handled is what the call
// adds to state.
func (e *Entry) failed(value any, handled uint64) {
	e.panics.Add(1)
	if f := e.r.config.Panic; f != nil {
		f(e, value, debug.Stack())
	}
	if value == nil {
		// runtime.Goexit: this goroutine unwinds and will not be the runner any
		// more, but what is queued must run and Del must not wait for ever.
		e.d.Msg.Data, e.d.Via = nil, nil
		e.state.Add(handled)
		go e.run(false)
	}
}

// run handles what is in the mailbox until it is empty, and then stops being
// the runner. A sender that does this inline does not do it for longer than one
// mailbox: a goroutine takes over.
func (e *Entry) run(inline bool) {
	for emptied := false; ; {
		for e.taken != nil {
			if e.next == len(e.taken.items) {
				e.taken.recycle()
				e.taken = nil
				break
			}
			at := &e.taken.items[e.next]
			e.next++
			e.item(at)
		}
		s := e.state.Load()
		switch {
		case s&stateQueued == 0:
			if e.state.CompareAndSwap(s, s&^uint64(stateRunning)) {
				if s&stateRemoved != 0 {
					close(e.drained)
				}
				return
			}
		case inline && emptied:
			go e.run(false)
			return
		default:
			emptied = true
			if e.take() {
				e.r.config.Room(e)
			}
		}
	}
}

// item handles one item of a mailbox.
func (e *Entry) item(at *item) {
	if at.release != nil {
		defer at.release() // also when the handler ends the goroutine
	}
	if at.interest != 0 {
		e.tell(at.interest)
		return
	}
	e.handle(&at.d)
}

// take moves the mailbox to taken and lets waiting senders fill the next one. It
// reports whether the room hook is due.
func (e *Entry) take() (room bool) {
	e.mu.Lock()
	e.taken, e.next, e.box = e.box, 0, nil
	n := 0
	for n < len(e.waiters) && !e.full() {
		w := e.waiters[n]
		e.waiters[n] = nil
		e.push().copy(&w.d)
		w.done <- nil // never blocks: one result, room for one
		n++
	}
	e.waiters = e.waiters[n:]
	if n == 0 {
		e.state.And(^uint64(stateQueued))
	}
	room = e.wantRoom && !e.full()
	if room {
		e.wantRoom = false
	}
	e.mu.Unlock()
	return room
}
