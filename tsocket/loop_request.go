package tsocket

import "sync/atomic"

// home is where a socket notes the loop it is attached to.
type home struct{ loop atomic.Pointer[Loop] }

// finishedAt is finished for a request of a socket: its callbacks are called where they are to be.
func finishedAt[T any](h *home, v T, err error) *Request[T] {
	r := finished(v, err)
	r.settleIn(h)
	return r
}

// finishedOn is finishedAt for a request that was not refused: where there is no loop, its
// callbacks are called on a lane.
func finishedOn[T any](l *lane, h *home, v T, err error) *Request[T] {
	r := finishedAt(h, v, err)
	r.lane = l
	return r
}

// settleIn has the callbacks of a new request called on the loop of its socket.
func (r *Request[T]) settleIn(h *home) {
	if l := h.loop.Load(); l != nil {
		r.post = l.poster
	}
}

// leave makes a loop forget a socket that it does not wait for itself.
func (h *home) leave(g guest) {
	l := h.loop.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	delete(l.guests, g)
	l.mu.Unlock()
}

// loopPart is what a request that waits in a loop needs.
type loopPart struct {
	seat  *seat // nil: no loop runs it
	write bool
}

// mustNotWait reports whether waiting for the request would keep the loop from running it. Where
// that cannot be known, whoever waits runs it.
func (p *loopPart) mustNotWait() bool {
	return p.seat != nil && (threadID() == 0 || p.seat.loop.inside())
}

// loopJob is a job that a loop can run: errInterrupted or ErrAgain say that it has to wait.
type loopJob[T any] interface{ try() (T, error) }

// waitIn leaves a new request to the loop; false if its socket has no place there, and
// somebody else has to run it.
func (r *Request[T]) waitIn(f *sysfd, write bool) bool {
	if f == nil {
		return false
	}
	st := f.seat.Load()
	if st == nil {
		return false
	}
	r.w.lazy = false
	r.w.loop = loopPart{seat: st, write: write}
	st.wait(write, r)
	return true
}

// attempt runs the request as far as it goes without waiting. The loop calls it, and so the
// callbacks can be called from here.
func (r *Request[T]) attempt() (again, soft bool) {
	if !r.take() {
		return false, false
	}
	v, err := r.w.job.(loopJob[T]).try()
	if err == errInterrupted || isErr(err, ErrAgain) {
		soft = r.w.loop.seat.io().soft(r.w.loop.write)
		return r.park(), soft
	}
	callbacks, after := r.settle(v, err)
	r.call(callbacks, after)
	return false, false
}

// park gives up the right to run the request; false if it has been stopped meanwhile.
func (r *Request[T]) park() bool {
	w := r.w
	j := w.job
	r.state.Store(stateParked)
	w.mu.Lock()
	cause := w.cause
	w.mu.Unlock()
	if cause == nil {
		return true
	}
	if r.take() {
		v, err := j.stop(cause)
		r.finish(v, err, nil, true)
	}
	return false
}

// giveBack leaves the request to the loop again, after somebody else has run it.
func (r *Request[T]) giveBack() {
	p := r.w.loop
	if r.park() {
		p.seat.again(p.write, r, false)
	}
}
