package natsbridge

import "github.com/nats-io/nats.go"

// inbox is what has come from NATS and waits for the broker's loop, bounded in bytes: what is beyond is dropped, as the network might have
// done.
type inbox struct {
	msgs  []*nats.Msg
	bytes int
	spare []*nats.Msg
}

// put returns false if there is no room. One payload fits, whatever its length.
func (q *inbox) put(m *nats.Msg) bool {
	if q.bytes > 0 && q.bytes+len(m.Data) > inboxBytes {
		return false
	}
	q.bytes += len(m.Data)
	q.msgs = append(q.msgs, m)
	return true
}

// batch returns the first ones. What the last call returned is void.
func (q *inbox) batch() []*nats.Msg {
	n := min(len(q.msgs), inboxBatch)
	b := append(q.spare[:0], q.msgs[:n]...)
	q.spare = b
	rest := copy(q.msgs, q.msgs[n:])
	clear(q.msgs[rest:])
	if q.msgs = q.msgs[:rest]; rest == 0 && cap(q.msgs) > 4*inboxBatch {
		q.msgs = nil
	}
	for _, m := range b {
		q.bytes -= len(m.Data)
	}
	return b
}
