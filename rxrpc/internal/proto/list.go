package proto

// A Call can be on one list of each kind.
const (
	onEvents = iota // has something to tell
	onSend          // has something to send
	onWait          // waits: for a channel, or to be accepted
	listKinds
)

type links struct {
	next, prev *Call
	on         bool
}

// A callList is a queue of calls that a call can leave from anywhere.
type callList struct {
	head, tail *Call
	kind, n    int
}

// add puts c at the end, unless it is on the list.
func (l *callList) add(c *Call) {
	k := &c.links[l.kind]
	if k.on {
		return
	}
	*k = links{prev: l.tail, on: true}
	if l.tail != nil {
		l.tail.links[l.kind].next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.n++
}

// remove takes c off, if it is on the list.
func (l *callList) remove(c *Call) {
	k := &c.links[l.kind]
	if !k.on {
		return
	}
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = links{}
	l.n--
}

// A connList is the same for connections.
type connLinks struct {
	next, prev *conn
	on         bool
}

// Lists of connections.
const (
	connIdle = iota // without calls, longest first
	connSend        // has a packet of its own to send
	connListKinds
)

type connList struct {
	head, tail *conn
	kind, n    int
}

func (l *connList) add(c *conn) {
	k := &c.links[l.kind]
	if k.on {
		return
	}
	*k = connLinks{prev: l.tail, on: true}
	if l.tail != nil {
		l.tail.links[l.kind].next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.n++
}

func (l *connList) remove(c *conn) {
	k := &c.links[l.kind]
	if !k.on {
		return
	}
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = connLinks{}
	l.n--
}
