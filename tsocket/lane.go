package tsocket

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A request may not depend on being waited for: reading it may be what the
	// peer needs to go on. So it gets a goroutine when it has been parked for startDelay,
	// and at most twice that. But a timer that is due soon makes every sleep of the processor
	// dearer: where somebody always waits, the delay grows.
	startDelay    = time.Millisecond
	startDelayMax = 32 * time.Millisecond

	// shyFor is how many tasks are left to no host after one was late.
	shyFor = 64
)

// A lane has the requests of one direction run, and their callbacks.
//
// A parked request that nobody waits for gets a goroutine from a timer. That
// ticks while requests are parked, and not for each of them: what is found at two ticks is late.
//
// What a callback leaves to be done, the next request, or the callback of one
// that was finished at once, needs no goroutine of its own: the host, that is the one on which
// the callback runs, does it afterwards. Unless it is late: then the callback is stuck.
type lane struct {
	mu       sync.Mutex // guards all; nothing is called under it
	timer    *time.Timer
	ticking  bool
	delay    time.Duration
	req      task // the request that was parked last
	reqSeen  bool // at the last tick
	host     *host
	todo     []task // of the host
	todoSeen int    // as many of them were there at the last tick
	shy      int
}

// A task is a parked request, or a callback.
type task interface {
	// take gives the caller the right to do it; false if somebody else has it.
	take() bool
	// do does it on a goroutine of the lane.
	do(h *host)
}

// A host is a goroutine that works for a lane: one whose callback was stuck may
// find another one in its place.
type host struct{ _ bool }

// work is the goroutine of a task that it has taken, and of what that leaves.
func (l *lane) work(t task) {
	h := &host{}
	defer l.resign(h)
	for t.do(h); ; t.do(h) {
		if t = l.next(h); t == nil {
			return
		}
	}
}

// start sees to it that r is run, which is parked.
func (l *lane) start(r task) {
	l.mu.Lock()
	l.req, l.reqSeen = r, false
	l.tickLater()
	l.mu.Unlock()
}

// offer leaves t to the host; false if there is none.
func (l *lane) offer(t task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host == nil {
		return false
	}
	if l.shy > 0 {
		l.shy--
		return false
	}
	l.todo = append(l.todo, t)
	l.tickLater()
	return true
}

// become makes h the host. What another one has left undone is done elsewhere.
func (l *lane) become(h *host) {
	l.mu.Lock()
	var left []task
	if l.host != h {
		left = l.replace(h)
	}
	l.mu.Unlock()
	l.promote(left)
}

// resign is called when h cannot be host any more.
func (l *lane) resign(h *host) {
	l.mu.Lock()
	var left []task
	if l.host == h {
		left = l.replace(nil)
	}
	l.mu.Unlock()
	l.promote(left)
}

func (l *lane) replace(h *host) (left []task) {
	l.host = h
	if len(l.todo) > 0 {
		left, l.todo, l.todoSeen = l.todo, nil, 0
	}
	return left
}

// next takes the next task of h, which is not host any more if there is none.
func (l *lane) next(h *host) task {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.host == h && len(l.todo) > 0 {
		t := l.todo[0]
		l.todo = append(l.todo[:0], l.todo[1:]...)
		l.todo[:len(l.todo)+1][len(l.todo)] = nil
		l.todoSeen = max(l.todoSeen-1, 0)
		if t.take() {
			return t
		}
	}
	if l.host == h {
		l.host = nil
	}
	return nil
}

// promote starts goroutines for what nobody does, and tells whether there was any.
func (l *lane) promote(tasks []task) (started bool) {
	for _, t := range tasks {
		if t.take() {
			started = true
			go l.work(t)
		}
	}
	return started
}

func (l *lane) tickLater() {
	switch {
	case l.ticking:
		return
	case l.timer == nil:
		l.delay = startDelay
		l.timer = time.AfterFunc(l.delay, l.tick)
	default:
		l.timer.Reset(l.delay)
	}
	l.ticking = true
}

func (l *lane) tick() {
	l.mu.Lock()
	left := append([]task(nil), l.todo[:l.todoSeen]...)
	l.todo = append(l.todo[:0], l.todo[l.todoSeen:]...)
	var parked []task
	if l.req != nil && l.reqSeen {
		parked, l.req = append(parked, l.req), nil
	}
	l.reqSeen, l.todoSeen = true, len(l.todo)
	if l.ticking = false; l.req != nil || len(l.todo) > 0 {
		l.delay = min(2*l.delay, startDelayMax)
		l.tickLater()
	}
	l.mu.Unlock()

	stuck := l.promote(left)
	if l.promote(parked) || stuck {
		l.mu.Lock()
		l.delay = startDelay
		if stuck {
			l.shy = shyFor
		}
		l.mu.Unlock()
	}
}

// A call is a callback of a request that was finished when it was given.
type call[T any] struct {
	r     *Request[T]
	fn    func(*Request[T])
	taken atomic.Bool
}

func (c *call[T]) take() bool { return c.taken.CompareAndSwap(false, true) }

func (c *call[T]) do(h *host) {
	c.r.lane.become(h)
	c.fn(c.r)
}
