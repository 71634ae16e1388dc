package connector

// Entry.state counts claims. Who delivers a message adds one first. Whoever finds
// nothing but its own claim is the runner, runs the handler, and leaves by taking the claim away.
// Who finds more puts the message in the mailbox under mu, marks that as queued, and
// takes its claim away; that happens only while something is queued, or the entry removed.
//
// Thus there is exactly one runner as long as there is a claim or something queued, with these
// refinements:
//
//   - A runner takes its claim away before it knows whether there is anything else. If there is,
//     it is still the runner, and claims again (stay).
//   - A runner that finds the mailbox empty may find the claims of others, who are
//     on their way to mu. It leaves all the same (free), and the first of them is the runner.
//   - A removed entry has no new runner.
const (
	oneClaim     = 1       // 24 bits of claims: no machine has as many goroutines in deliver
	stateQueued  = 1 << 24 // box is not empty; changed under mu only
	stateRemoved = 1 << 25 // takes no more messages; set under mu
	oneHandled   = 1 << 26 // the other bits: messages handled
	stateFold    = 1 << 63 // of these so many that before takes over

	stateClaims = stateQueued - 1
	stateLow    = oneHandled - 1
	stateMore   = stateLow | stateFold // nothing of it is set when a runner has left

	handledAndLeft = oneHandled - oneClaim
)

// stay is called by a runner that handled a message and took its claim away, with
// the state that it left, which has some of stateMore.
func (e *Entry) stay(s uint64) {
	e.mu.Lock()
	e.fold()
	if s&stateLow == 0 {
		e.mu.Unlock()
		return
	}
	e.state.Add(oneClaim)
	e.mu.Unlock()
	e.loop(true)
}

// leaveIdle is how a runner leaves when there is nothing else.
func (e *Entry) leaveIdle() bool {
	s := e.state.Load()
	return s&stateLow == oneClaim && e.state.CompareAndSwap(s, s-oneClaim)
}

// leave is how a runner leaves an empty mailbox, mu held.
func (e *Entry) leave() {
	for !e.leaveIdle() {
		s := e.state.Load()
		if s&stateClaims != oneClaim {
			e.free = true // they cannot take their claims away before mu is unlocked
			e.state.Add(minus(oneClaim))
		} else if !e.state.CompareAndSwap(s, s-oneClaim) {
			continue
		}
		if s&stateRemoved != 0 {
			close(e.drained)
		}
		return
	}
}

// begin marks that something will be put in the mailbox on behalf of who has no claim, mu
// held. start is true when the caller became the runner by it.
func (e *Entry) begin() (start, ok bool) {
	for {
		s := e.state.Load()
		switch {
		case s&stateRemoved != 0:
			return false, false
		case e.free:
			e.free = false
			e.state.Add(oneClaim + stateQueued)
			return true, true
		case s&stateLow == 0:
			if e.state.CompareAndSwap(s, s+oneClaim+stateQueued) {
				return true, true
			}
		case s&stateQueued != 0 || e.state.CompareAndSwap(s, s+stateQueued):
			return false, true
		}
	}
}

// queued marks that the caller put something in the mailbox, and takes its claim
// away, mu held.
func (e *Entry) queued() {
	if e.state.Load()&stateQueued == 0 {
		e.state.Add(stateQueued - oneClaim)
		return
	}
	e.unclaim()
}

// unclaim takes the caller's claim away, mu held. Something must be queued, or e removed.
func (e *Entry) unclaim() { e.state.Add(minus(oneClaim)) }

// remove makes e take no more messages and refuses those that wait for room.
func (e *Entry) remove() {
	e.mu.Lock()
	old := e.state.Or(stateRemoved)
	idle := e.free || old&(stateClaims|stateQueued) == 0
	for _, w := range e.waiters {
		w.done <- ErrNoID
	}
	e.waiters = nil
	e.mu.Unlock()
	if idle {
		close(e.drained)
	}
}

// fold has before take over what state counted, if it is time, mu held.
func (e *Entry) fold() {
	if e.state.Load()&stateFold != 0 {
		e.before += stateFold / oneHandled
		e.state.Add(minus(stateFold))
	}
}

func minus(n uint64) uint64 { return -n }
