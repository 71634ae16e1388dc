package rxrpc

import (
	"sync"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/tsocket"
)

// The protocol's state has one owner at a time: whoever holds the token. Work is
// put into the queue; if nobody holds the token, who put it there takes it and does the
// work at once, on its own goroutine; otherwise the holder finds the work before it lets
// go. So a caller's request leaves without a change of goroutine, and what comes while the
// holder is in a system call leaves together in the next one.
type token struct {
	// mu guards the fields below. Nothing waits while holding it. It comes before a call's mu.
	mu     sync.Mutex
	held   bool
	closed bool // the flusher has gone
	calls  []*call
	inbox  []tsocket.Message // what the reader has received; it waits until that is processed
	news   []proto.NetError
	tasks  []task
	tick   bool
}

// A task is something for the owner to do: fn, or to tell the protocol that packets of x were read, or what was submitted of x.
type task struct {
	fn      func(now proto.Time)
	x       *sockCall
	packets int
}

func (t *token) empty() bool {
	return len(t.calls) == 0 && t.inbox == nil && len(t.news) == 0 && len(t.tasks) == 0 && !t.tick
}

// add puts c into the queue; t.mu is held.
func (t *token) add(c *call) {
	if !c.queued {
		c.queued = true
		t.calls = append(t.calls, c)
	}
}

// submit has the owner look at c.
func (e *Endpoint) submit(c *call) {
	e.tok.mu.Lock()
	e.tok.add(c)
	e.take()
}

// submitLater is submit for somebody who knows that others are about to submit
// too: what they want goes out together. The flusher sees to it that nothing is left lying.
func (e *Endpoint) submitLater(c *call) {
	e.tok.mu.Lock()
	e.tok.add(c)
	e.takeLater()
}

// takeLater is take, but that the flusher does it if nobody has the token.
func (e *Endpoint) takeLater() {
	t := &e.tok
	if t.closed {
		e.take()
		return
	}
	held := t.held
	t.mu.Unlock()
	if !held {
		e.flusher.wake()
	}
}

// post runs fn as the owner, now or soon.
func (e *Endpoint) post(fn func(now proto.Time)) {
	e.put(task{fn: fn})
}

// put has the owner do t, now or soon.
func (e *Endpoint) put(t task) {
	e.tok.mu.Lock()
	e.tok.tasks = append(e.tok.tasks, t)
	e.take()
}

// putLater is put as submitLater is submit.
func (e *Endpoint) putLater(k task) {
	e.tok.mu.Lock()
	e.tok.tasks = append(e.tok.tasks, k)
	e.takeLater()
}

// do runs fn as the owner and returns when it is done. The owner itself must not
// call it.
func (e *Endpoint) do(fn func(now proto.Time)) {
	done := make(chan struct{})
	e.post(func(now proto.Time) {
		defer close(done)
		fn(now)
	})
	<-done
}

// kick runs the queue if there is something in it and nobody does.
func (e *Endpoint) kick() {
	e.tok.mu.Lock()
	e.take()
}

// maxRounds is how often a caller looks into the queue on behalf of others before it
// leaves the rest to the flusher.
const maxRounds = 16

// take takes the token, if it is free, and does what is in the queue. t.mu is held; take
// unlocks it.
func (e *Endpoint) take() {
	t := &e.tok
	if t.held || t.empty() {
		t.mu.Unlock()
		return
	}
	t.held = true
	for rounds := 0; !t.empty(); rounds++ {
		if rounds == maxRounds && !t.closed {
			t.held = false
			t.mu.Unlock()
			e.flusher.hand()
			return
		}
		calls, inbox, news, tasks, tick := t.calls, t.inbox, t.news, t.tasks, t.tick
		t.calls, t.inbox, t.news, t.tasks, t.tick = e.spare[:0], nil, nil, e.spareTasks[:0], false
		for _, c := range calls {
			c.queued = false
		}
		t.mu.Unlock()
		e.work(calls, inbox, news, tasks, tick)
		clear(calls)
		clear(tasks)
		e.spare, e.spareTasks = calls, tasks
		t.mu.Lock()
	}
	t.held = false
	t.mu.Unlock()
}

// work is one round of the owner: all that was wanted, then what follows from it.
func (e *Endpoint) work(calls []*call, inbox []tsocket.Message, news []proto.NetError, tasks []task, tick bool) {
	now := e.now()
	if e.far != nil {
		e.workFar(now, calls, tasks)
		return
	}
	if inbox != nil {
		e.receive(now, inbox)
	}
	for i := range news {
		e.p.NetError(now, news[i])
	}
	for _, c := range calls {
		c.serve(now)
	}
	e.doTasks(now, tasks)
	if tick {
		e.timer.fired()
		e.p.Tick(now)
	}
	e.wokenNow = 0
	e.events(now)
	if inbox != nil {
		e.woken.Store(e.wokenNow)
	}
	for e.transmit(now) {
		e.events(now) // of what was sent, or refused
	}
	e.rearm()
	e.tellIdle()
}

func (e *Endpoint) doTasks(now proto.Time, tasks []task) {
	for i := range tasks {
		switch t := &tasks[i]; {
		case t.fn != nil:
			t.fn(now)
		case t.packets == 0:
			t.x.advance(now)
		case t.x.pc != nil:
			t.x.pc.Consumed(now, t.packets)
		}
	}
}
