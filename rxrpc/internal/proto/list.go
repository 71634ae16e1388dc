package proto

// A node is the place of a T on a list.
type node[T any] struct {
	next, prev *T
	on         bool
}

// A list is a queue of things that can leave it from anywhere; at finds the node that they
// have for it.
type list[T any] struct {
	head, tail *T
	n          int
	at         func(*T) *node[T]
}

// add puts x at the end, unless it is on the list.
func (l *list[T]) add(x *T) {
	k := l.at(x)
	if k.on {
		return
	}
	k.prev, k.on = l.tail, true
	if l.tail != nil {
		l.at(l.tail).next = x
	} else {
		l.head = x
	}
	l.tail = x
	l.n++
}

// remove takes x off, if it is on the list.
func (l *list[T]) remove(x *T) {
	k := l.at(x)
	if !k.on {
		return
	}
	if k.prev != nil {
		l.at(k.prev).next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		l.at(k.next).prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = node[T]{}
	l.n--
}

// rotate puts the first at the end.
func (l *list[T]) rotate() {
	if x := l.head; x != l.tail {
		l.remove(x)
		l.add(x)
	}
}

// Lists of calls.
func onEvents(c *Call) *node[Call]  { return &c.eventNode }
func onSend(c *Call) *node[Call]    { return &c.sendNode }
func onWait(c *Call) *node[Call]    { return &c.waitNode }
func onService(c *Call) *node[Call] { return &c.svcNode }

// Lists of connections.
func onIdle(c *conn) *node[conn]     { return &c.idleNode }
func onConnSend(c *conn) *node[conn] { return &c.sendNode }
func onPeer(c *conn) *node[conn]     { return &c.peerNode }

// Lists of peers.
func onPeerIdle(p *peer) *node[peer] { return &p.idleNode }
func onPeerSend(p *peer) *node[peer] { return &p.sendNode }
