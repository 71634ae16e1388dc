package proto

// What is a set of things that happened to a call.
type What uint8

// Things that happen. One Event has all that happened since the last one of the call.
const (
	// Arrived: a service call is there. It is the first event of it. With AcceptManual it
	// waits for Accept or Reject; otherwise Tag is the charge's.
	Arrived What = 1 << iota
	// Connected: the first packet of a client call is about to be sent; its call
	// number is used up.
	Connected
	// Readable: Take has something.
	Readable
	// Writable: Room has grown since Send could not take all.
	Writable
	// Sent: all of the call's data has been transmitted at least once.
	Sent
	// Busy: a server has said BUSY; the call goes on and will try again.
	Busy
	// Ended: Result is final. It is the last event of a call; Take may have data still if the call
	// succeeded.
	Ended
	// Assigned: a client call that had to wait for a channel has one.
	Assigned
)

// Has reports whether all of x happened.
func (w What) Has(x What) bool { return w&x == x }

// Event says that something happened to a call.
type Event struct {
	Call *Call
	What What
}

// Event returns the next event, in the order in which calls had something to say; false
// if there is none. The events of a call stop when it is released.
func (e *Endpoint) Event() (Event, bool) {
	c := e.events.head
	if c == nil {
		return Event{}, false
	}
	e.events.remove(c)
	ev := Event{Call: c, What: c.news}
	if c.waits { // the rest is told once it is accepted
		ev.What &= Arrived | Ended
	}
	c.news &^= ev.What
	return ev, true
}

func (c *Call) tell(w What) {
	if c.released {
		return
	}
	c.news |= w
	if c.waits && w&(Arrived|Ended) == 0 {
		return
	}
	c.e.events.add(c)
}
