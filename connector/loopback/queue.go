package loopback

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// queue is what an endpoint has not received yet: events in a ring of slots,
// their data in a ring of bytes. Both grow to what was needed and are then
// used again and again.
//
// It is full beyond its bounds, while somebody waits for room, and, once something was
// dropped, until half of it is free: so that one long gap is told rather than many short ones.
type queue struct {
	maxMessages, maxBytes int

	mu       sync.Mutex // guards what follows
	slots    []slot     // length 0 or a power of two; slot n is at n modulo the length
	head     uint64     // number of the next slot to be received
	tail     uint64     // number of the next slot to be filled
	data     dataRing
	messages int // among the slots
	bytes    int // of them, with headers
	dropping bool
	closed   bool
	waiters  []*queueWaiter

	// marks are the numbers of the slots in which the losses of a group are counted
	// (0: of no group). A slot is among them until it is received or a message of its group
	// comes behind it.
	marks map[uint32]uint64

	lagging []*member // whose messages are in their group's history

	wake chan struct{} // has room for one: there is something, or it is closed
}

// slot is one event, small enough to keep thousands.
type slot struct {
	kind       connector.EventKind
	unknown    bool
	flags      uint16
	id         cbid.ID
	seq, ack   uint32
	port       uint32
	group      uint32
	start, len uint32 // of the data, in the ring
	pos        uint64 // or the number of messages lost
	err        error
	cred       connector.Cred
}

// queueWaiter is a sender that waits for room: for m, or, if that is nil, for any.
type queueWaiter struct {
	m    *connector.Message
	from connector.From
	done chan error // has room for the one result
}

type putResult uint8

const (
	putDone   putResult = iota
	putFull             // counted as lost
	putClosed           // the endpoint is closed
)

func (q *queue) init(messages, bytes int) {
	q.maxMessages, q.maxBytes = messages, bytes
	q.data.max = bytes + 4*connector.MaxPayload // what wraps and what is being read need room too
	q.wake = make(chan struct{}, 1)
}

// room reports whether n more bytes are within the bounds, mu held.
func (q *queue) room(n int) bool {
	return q.messages == 0 || q.messages < q.maxMessages && q.bytes+n <= q.maxBytes
}

func (q *queue) isFull(n int) bool { return q.dropping || len(q.waiters) > 0 || !q.room(n) }

// put puts m in the queue, or counts it as lost when that is full.
func (q *queue) put(m *connector.Message, from *connector.From, pos uint64) putResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return putClosed
	case q.isFull(m.Size()):
		q.dropping = q.messages > 0
		q.lose(from.Group, 1, false)
		return putFull
	}
	q.push(m, from, pos)
	return putDone
}

// wait puts m in the queue when it has room. An error is a sentinel or the context's:
// ErrNoPort when the endpoint is closed, or gone (of a group's member) is set.
func (q *queue) wait(s *sender, m *connector.Message, from *connector.From, gone *atomic.Bool) error {
	q.mu.Lock()
	switch {
	case q.closed || gone != nil && gone.Load():
		q.mu.Unlock()
		return connector.ErrNoPort
	case q.room(m.Size()) && len(q.waiters) == 0:
		q.push(m, from, 0)
		q.mu.Unlock()
		return nil
	}
	c := m.Clone() // so that the caller's m does not have to be in the heap
	w := q.waiter(&c, from)
	q.mu.Unlock()
	return q.await(s, w)
}

// waiter adds a waiter, mu held.
func (q *queue) waiter(m *connector.Message, from *connector.From) *queueWaiter {
	w := &queueWaiter{m: m, done: make(chan error, 1)}
	if from != nil {
		w.from = *from
	}
	q.waiters = append(q.waiters, w)
	return w
}

func (q *queue) await(s *sender, w *queueWaiter) error {
	err, answered := s.wait(w.done)
	if answered {
		return err
	}
	q.mu.Lock()
	at := slices.Index(q.waiters, w)
	if at >= 0 {
		q.waiters = slices.Delete(q.waiters, at, at+1)
		q.grant() // those behind may have waited for this one only
	}
	q.mu.Unlock()
	if at < 0 {
		return <-w.done // it was granted just now
	}
	return err
}

// grant lets waiters in, in order, once half of the queue is free, mu held.
func (q *queue) grant() {
	if 2*q.messages > q.maxMessages || 2*q.bytes > q.maxBytes {
		return
	}
	q.dropping = false
	n := 0
	for n < len(q.waiters) {
		w := q.waiters[n]
		if w.m != nil {
			if !q.room(w.m.Size()) {
				break
			}
			q.push(w.m, &w.from, 0)
		}
		w.done <- nil // never blocks: the one result
		n++
	}
	q.waiters = slices.Delete(q.waiters, 0, n)
}

// left ends the wait of those who wait on behalf of a group that the endpoint has left.
func (q *queue) left(group uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiters = slices.DeleteFunc(q.waiters, func(w *queueWaiter) bool {
		gone := w.m == nil || w.from.Group == group
		if gone {
			w.done <- connector.ErrNoPort // who waits for any room looks again
		}
		return gone
	})
	q.grant()
}

// push puts a message in the queue, mu held.
func (q *queue) push(m *connector.Message, from *connector.From, pos uint64) {
	if len(q.marks) > 0 {
		delete(q.marks, from.Group)
	}
	start := q.data.put(m.Data, q) // may move the data of the slots
	*q.add() = slot{
		kind: connector.EventMessage, flags: m.Flags, id: m.ID, seq: m.Seq, ack: m.Ack,
		port: from.Port, group: from.Group, cred: from.Cred, pos: pos,
		start: start, len: uint32(len(m.Data)),
	}
	q.messages++
	q.bytes += m.Size()
}

// lose counts n messages of group as lost, behind what is in the queue, mu held.
func (q *queue) lose(group uint32, n uint64, unknown bool) {
	if at, ok := q.marks[group]; ok && at >= q.head && !unknown {
		q.at(at).pos += n
		return
	}
	if q.marks == nil {
		q.marks = make(map[uint32]uint64)
	}
	if !unknown {
		q.marks[group] = q.tail
	}
	*q.add() = slot{kind: connector.EventLost, group: group, pos: n, unknown: unknown}
}

// fail puts word of a failed Post in the queue. It reports false, and does not, when too much is
// there already.
func (q *queue) fail(m *connector.Message, to connector.Dest, err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.tail-q.head >= 2*uint64(q.maxMessages) {
		return false
	}
	*q.add() = slot{
		kind: connector.EventFailed, flags: m.Flags, id: m.ID, seq: m.Seq, ack: m.Ack,
		port: to.Port, group: to.Group, err: err,
	}
	return true
}

func (q *queue) at(n uint64) *slot { return &q.slots[n&uint64(len(q.slots)-1)] }

// add returns the slot behind the last, mu held.
func (q *queue) add() *slot {
	if q.tail-q.head == uint64(len(q.slots)) {
		grown := make([]slot, max(16, 2*len(q.slots)))
		for n := q.head; n < q.tail; n++ {
			grown[n&uint64(len(grown)-1)] = *q.at(n)
		}
		q.slots = grown
	}
	if q.tail == q.head {
		wake(q.wake)
	}
	q.tail++
	return q.at(q.tail - 1)
}

// take returns the next event. more says whether to ask the histories of the lagging
// members, if there is none.
func (q *queue) take() (ev connector.Event, ok, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.data.release()
	if q.head == q.tail {
		return ev, false, len(q.lagging) > 0
	}
	s := q.at(q.head)
	q.head++
	ev = connector.Event{Kind: s.kind, From: connector.From{Port: s.port, Group: s.group, Cred: s.cred}, Err: s.err}
	if s.kind == connector.EventLost {
		ev.Lost, ev.Unknown = s.pos, s.unknown
		if len(q.marks) > 0 && q.marks[s.group] == q.head-1 {
			delete(q.marks, s.group)
		}
	} else {
		ev.Pos = s.pos
		ev.Msg = connector.Message{ID: s.id, Seq: s.seq, Ack: s.ack, Flags: s.flags}
	}
	if s.kind == connector.EventMessage {
		ev.Msg.Data = q.data.take(s.start, s.len)
		q.messages--
		q.bytes -= ev.Msg.Size()
	}
	s.err = nil
	if q.dropping || len(q.waiters) > 0 {
		q.grant()
	}
	return ev, true, false
}

// close makes the queue refuse everything and lets go of its memory.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, w := range q.waiters {
		w.done <- connector.ErrNoPort
	}
	q.waiters, q.slots, q.marks, q.lagging = nil, nil, nil, nil
	q.head, q.tail, q.messages, q.bytes = 0, 0, 0, 0
	q.data = dataRing{}
	wake(q.wake)
}
