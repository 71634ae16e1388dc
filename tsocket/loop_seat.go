package tsocket

import (
	"sync"
	"time"
)

// Ready says what a descriptor is ready for.
type Ready uint8

const (
	// Readable: a read would not wait: there are bytes, the end or an error; for a Listener
	// an accept.
	Readable Ready = 1 << iota
	// Writable: there is room to write.
	Writable
	// Broken: the connection has hung up, or there is an error. It is told once, to who does
	// not want Readable too; not on every system.
	Broken
	// peerDone: the peer has finished writing.
	peerDone
)

// A seat is the place of a descriptor in a loop. Requests wait there, one for each
// direction, until the loop finds the descriptor ready and runs them.
type seat struct {
	loop  *Loop
	owner Socket

	before, after *seat // in loop.seats, guarded by loop.mu

	mu      sync.Mutex // guards the fields below; of what is called under it nothing waits
	rd, wr  loopRequest
	watch   *Watch
	asked   Ready // of the poller
	dead    bool
	resting Ready // directions that wait for time to pass instead

	gone  bool     // the hang-up was told, known to the loop only
	busy  seatBusy // the poller's
	key   seatKey  // the poller's
	usual Watch    // the memory of watch, the first time
}

// sys returns the descriptor.
func (st *seat) sys() *sysfd {
	f, _, _ := st.owner.loopPlace()
	return f
}

func (st *seat) io() seated {
	_, io, _ := st.owner.loopPlace()
	return io
}

// seated is what a seat must know of its socket.
type seated interface {
	// soft reports whether the last try of that direction, which returned ErrAgain, failed for
	// another reason than the descriptor not being ready, so that no event will tell.
	soft(write bool) bool
	// onHangup is called when the peer has finished writing, or the connection is broken.
	onHangup()
}

// loopRequest is a Request of any type that a loop runs.
type loopRequest interface {
	// attempt runs it; again says that it is to wait on, soft that it is for time to pass.
	attempt() (again, soft bool)
	halt(cause error) bool
}

// softPause is how long a direction rests for which no event will tell.
const softPause = time.Millisecond

// want is what the seat wants of the poller. mu is held.
func (st *seat) want() Ready {
	var w Ready
	if st.rd != nil {
		w |= Readable
	}
	if st.wr != nil {
		w |= Writable
	}
	w &^= st.resting
	if st.watch != nil {
		w |= st.watch.want
	}
	return w
}

// ask tells the poller, if it does not know. mu is held.
func (st *seat) ask(w Ready) {
	if w != st.asked && !st.dead {
		st.asked = w
		st.loop.poll.set(st, w)
	}
}

// wait has the loop run r when the descriptor is ready, at once if it is.
func (st *seat) wait(write bool, r loopRequest) {
	st.mu.Lock()
	if st.dead {
		st.mu.Unlock()
		r.halt(ErrClosed)
		return
	}
	if write {
		st.wr = r
	} else {
		st.rd = r
	}
	// What was asked for and is not wanted any more is dropped when it
	// comes, and not before: it may be wanted again.
	st.ask(st.asked | st.want())
	st.mu.Unlock()
}

// handle does what is to be done when the descriptor is ready.
func (st *seat) handle(ev Ready) {
	if ev&(Broken|peerDone) != 0 && !st.gone {
		st.gone = true
		st.io().onHangup() // before a write that may begin to wait is looked for
	}
	st.mu.Lock()
	if st.dead {
		st.mu.Unlock()
		return
	}
	if st.loop.oneShot {
		st.asked &^= ev
	}
	var rd, wr loopRequest
	if ev&(Readable|Broken|peerDone) != 0 && st.resting&Readable == 0 {
		rd, st.rd = st.rd, nil
	}
	if ev&(Writable|Broken|peerDone) != 0 && st.resting&Writable == 0 {
		wr, st.wr = st.wr, nil
	}
	w := st.watch
	var told Ready
	if w != nil {
		if told = ev & (w.want | Broken); ev&(Broken|peerDone) != 0 {
			told |= w.want & Readable
		}
	}
	settled := rd == nil && wr == nil && st.want() == st.asked // what fn wants it says itself
	st.mu.Unlock()

	if rd != nil {
		if again, soft := rd.attempt(); again {
			st.again(false, rd, soft)
		}
	}
	if wr != nil {
		if again, soft := wr.attempt(); again {
			st.again(true, wr, soft)
		}
	}
	if told != 0 && (rd == nil && wr == nil || st.watchedBy(w)) {
		w.fn(told)
	}

	if settled {
		return
	}
	st.mu.Lock()
	want := st.want()
	if rd != nil || ev&(Readable|Broken|peerDone) == 0 {
		want |= st.asked & Readable // whoever reads will read again
	}
	st.ask(want)
	st.mu.Unlock()
}

func (st *seat) watchedBy(w *Watch) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.watch == w
}

// again lets a request wait on that was tried too early.
func (st *seat) again(write bool, r loopRequest, soft bool) {
	dir := Readable
	if write {
		dir = Writable
	}
	st.mu.Lock()
	if st.dead {
		st.mu.Unlock()
		r.halt(ErrClosed)
		return
	}
	// If there is another one, r has been stopped in this moment.
	if write && st.wr == nil {
		st.wr = r
	} else if !write && st.rd == nil {
		st.rd = r
	}
	if soft {
		st.resting |= dir
		st.ask(st.want())
	} else {
		st.ask(st.asked | st.want())
	}
	st.mu.Unlock()
	if soft {
		st.loop.AfterFunc(softPause, func() { st.rested(dir) })
	}
}

// rested tries again what no event tells of.
func (st *seat) rested(dir Ready) {
	st.mu.Lock()
	st.resting &^= dir
	st.mu.Unlock()
	st.handle(dir)
}

// nudge has the request of that direction tried on the loop without an event.
func (st *seat) nudge(dir Ready) { st.loop.deliver(func() { st.handle(dir) }) }

// leave takes the descriptor out of the loop and returns who waited.
func (st *seat) leave() (rd, wr loopRequest) {
	st.mu.Lock()
	if st.dead {
		st.mu.Unlock()
		return nil, nil
	}
	st.dead = true
	rd, wr = st.rd, st.wr
	st.rd, st.wr, st.watch = nil, nil, nil
	st.loop.poll.remove(st)
	st.mu.Unlock()
	st.loop.mu.Lock()
	st.loop.unlink(st)
	st.loop.mu.Unlock()
	return rd, wr
}

// tellsHangup reports whether the loop tells when the peer has gone though nobody reads.
func (st *seat) tellsHangup() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.dead && st.watch == nil && !st.loop.oneShot
}
