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
// The runner is who calls the handler and touches the fields below "runner only". An
// uncontended message costs two atomic additions to state, one to become the runner and one to
// cease to be, and touches no other synchronisation; state.go says how the rest works.
type Entry struct {
	key      uint64          // of info.ID
	run      Handler         // what is called: handler, less the mark of Inline
	ctx      context.Context // the handler's
	via      Replier         // see Binding
	tag      any             // see Binding
	r        *Registry
	info     IDInfo
	handler  Handler
	interest InterestHandler // handler, if it is one

	_ [96]byte // see TestEntryLayout

	state atomic.Uint64

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
	free     bool       // nobody is the runner, though there are claims: one of them will be
	before   uint64     // messages handled that state does not count any more
	drained  chan struct{}

	_ [64]byte
}

type entryKey struct{}

func newEntry(r *Registry, info IDInfo, h Handler, b *Binding) *Entry {
	e := &Entry{
		r: r, key: info.ID.Key(), info: info, handler: h, run: unmarked(h),
		via: b.Via, tag: b.Tag, drained: make(chan struct{}),
	}
	e.interest, _ = h.(InterestHandler)
	parent := b.Context
	if parent == nil {
		parent = r.ctx
	}
	e.ctx = context.WithValue(parent, entryKey{}, e)
	return e
}

// within reports whether ctx is, or derives from, the one that e gives to its handler.
func (e *Entry) within(ctx context.Context) bool { return ctx.Value(entryKey{}) == any(e) }

// Info returns the description given to Add, with the group.
func (e *Entry) Info() IDInfo { return e.info }

// Handled is how many messages the handler was called with.
func (e *Entry) Handled() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.before + e.state.Load()/oneHandled
}

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
	if e.Take() {
		e.d.Call, e.d.Via = call, via
		e.handleTaken(m, from)
		return nil
	}
	return e.behind(ctx, &Delivery{Msg: *m, From: *from, Call: call, Via: via}, full)
}

// handleTaken is the way of a message whose callback is idle: everything here and in
// Take is counted in nanoseconds. What is stored between the two atomic additions delays the second one,
// which is why fields are only written when they change, and why the last
// message's data stay until the next one.
func (e *Entry) handleTaken(m *Message, from *From) {
	done := false
	defer func() {
		if !done && e.failed(recover(), oneHandled) {
			return
		}
		if s := e.state.Add(handledAndLeft); s&stateMore != 0 {
			e.stay(s)
		}
	}()
	e.d.Msg = *m
	if e.d.From != *from {
		e.d.From = *from
	}
	e.run.Handle(e.ctx, &e.d)
	done = true
}

// behind is deliver for who has claimed e, and has not become the runner by it.
func (e *Entry) behind(ctx context.Context, d *Delivery, full WhenFull) error {
	e.mu.Lock()
	switch {
	case e.state.Load()&stateRemoved != 0:
		e.unclaim()
		e.mu.Unlock()
		return ErrNoID
	case e.free:
		e.free = false
		e.mu.Unlock()
		e.handle(d)
		e.loop(true)
		return nil
	case !e.full():
		e.push().copy(d)
		e.queued()
		e.mu.Unlock()
		return nil
	case full == FullDrop || e.within(ctx):
		e.unclaim()
		e.mu.Unlock()
		return e.sendError(fmt.Errorf("%d messages are waiting: %w", e.r.config.Queue, ErrWouldBlock))
	default:
		w := &waiter{d: *d, done: make(chan error, 1)}
		e.waiters = append(e.waiters, w)
		e.unclaim()
		e.mu.Unlock()
		return e.wait(ctx, w)
	}
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
	e.run.Handle(e.ctx, &e.d)
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

// failed deals with a handler that did not return. When the goroutine is ending, it
// reports so: somebody else is the runner then, handled (what the call adds to state) has been added.
func (e *Entry) failed(value any, handled uint64) (ending bool) {
	e.panics.Add(1)
	if f := e.r.config.Panic; f != nil {
		f(e, value, debug.Stack())
	}
	if value != nil {
		return false
	}
	// runtime.Goexit: what is queued must run and Del must not wait for ever.
	e.d.Msg.Data, e.d.Via = nil, nil
	e.state.Add(handled)
	go e.loop(false)
	return true
}

// loop handles what is in the mailbox until it is empty, and then stops being
// the runner. A sender that does this inline does not do it for longer than one
// mailbox: a goroutine takes over.
func (e *Entry) loop(inline bool) {
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
		if e.leaveIdle() {
			return
		}
		if inline && emptied && e.state.Load()&stateQueued != 0 {
			go e.loop(false)
			return
		}
		left, room := e.take()
		if left {
			return
		}
		emptied = true
		if room {
			e.r.config.Room(e)
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

// take moves the mailbox to taken and lets waiting senders fill the next one. With
// an empty one, the caller is not the runner any more: left. room says that the room hook is due.
func (e *Entry) take() (left, room bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fold()
	if e.box == nil {
		e.leave()
		return true, false
	}
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
	return false, room
}
