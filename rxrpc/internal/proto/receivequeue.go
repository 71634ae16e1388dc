package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// A receiveQueue holds what has arrived of a call: data in order, and packets that wait for
// those before them. The window is what the application has consumed plus its size; what is in order is
// hard-acked at once (as Linux does) and never dropped.
type receiveQueue struct {
	next     wire.Seq // first not received in order
	top      wire.Seq // highest received, 0 none
	last     wire.Seq // of the last packet of all, 0 not known
	consumed wire.Seq // how many packets the application has consumed
	window   int
	edge     wire.Seq // the last packet that the peer was told it may send
	waiting  int      // packets beyond next that are here
	slots    *slots   // by seq; nil until the first is needed
	head     *Buf     // in order, not taken
	tail     *Buf
	taken    bool // the last was
}

// slotCount is how many packets can wait: a power of two that no window exceeds.
const slotCount = 256

type slots [slotCount]*Buf

func (q *receiveQueue) reset(window int) {
	*q = receiveQueue{next: 1, window: window, edge: wire.Seq(window)}
}

// limit is the last packet that fits the window.
func (q *receiveQueue) limit() wire.Seq { return q.consumed.Add(q.window) }

// rwind is the window to advertise: how many packets from next on.
func (q *receiveQueue) rwind() int { return max(q.limit().Sub(q.next)+1, 0) }

func (q *receiveQueue) has(s wire.Seq) bool {
	return q.slots != nil && q.slots[s%slotCount] != nil
}

// drop releases everything that was not taken.
func (q *receiveQueue) drop(e *Endpoint) {
	for b := q.head; b != nil; b = q.head {
		q.head = b.next
		b.Release()
	}
	q.tail = nil
	if q.slots != nil {
		for i, b := range q.slots {
			if b != nil {
				b.Release()
				q.slots[i] = nil
			}
		}
		q.waiting = 0
		if len(e.freeSlots) < maxFreeSlots {
			e.freeSlots = append(e.freeSlots, q.slots)
		}
		q.slots = nil
	}
	q.taken = true
}

// maxFreeSlots is how many slots for packets out of order are kept: 128 KB.
const maxFreeSlots = 64

// put keeps a packet that has to wait.
func (q *receiveQueue) put(e *Endpoint, b *Buf) {
	if q.slots == nil {
		if n := len(e.freeSlots) - 1; n >= 0 {
			q.slots, e.freeSlots = e.freeSlots[n], e.freeSlots[:n]
		} else {
			q.slots = new(slots)
		}
	}
	q.slots[b.seq%slotCount] = b
	q.waiting++
}

func (q *receiveQueue) append(b *Buf) {
	if q.tail == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail = b
}

// drain makes what has waited for the packet just delivered available.
func (c *Call) drain(now Time) bool {
	q := &c.rx
	drained := false
	for q.waiting > 0 {
		slot := &q.slots[q.next%slotCount]
		b := *slot
		if b == nil || b.seq != q.next {
			break
		}
		*slot = nil
		q.waiting--
		q.next++
		q.append(b)
		drained = true
	}
	return drained
}
