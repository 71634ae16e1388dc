package rxrpc

import "github.com/cnbus/cnbus/rxrpc/internal/proto"

// bufQueue is a queue of received pieces.
type bufQueue struct {
	bufs []*proto.Buf
	head int
	off  int // of the first
}

func (q *bufQueue) push(b *proto.Buf) {
	if q.head > len(q.bufs)/2 && len(q.bufs) == cap(q.bufs) {
		// A reader that is always a little behind must not make it grow for ever.
		n := copy(q.bufs, q.bufs[q.head:])
		clear(q.bufs[n:])
		q.bufs, q.head = q.bufs[:n], 0
	}
	q.bufs = append(q.bufs, b)
}

func (q *bufQueue) empty() bool { return q.head == len(q.bufs) }

// read copies what is there into p and returns how many bytes, and how many packets
// are used up.
func (q *bufQueue) read(p []byte) (n, packets int) {
	for q.head < len(q.bufs) {
		b := q.bufs[q.head]
		k := copy(p[n:], b.Bytes()[q.off:])
		n += k
		if q.off += k; q.off < len(b.Bytes()) {
			break
		}
		packets += b.Packets()
		b.Release()
		q.bufs[q.head] = nil
		q.head++
		q.off = 0
	}
	if q.head == len(q.bufs) {
		q.bufs, q.head = q.bufs[:0], 0
	}
	return n, packets
}

// drop releases all, and returns how many packets that were.
func (q *bufQueue) drop() (packets int) {
	for _, b := range q.bufs[q.head:] {
		packets += b.Packets()
		b.Release()
	}
	clear(q.bufs)
	q.bufs, q.head, q.off = q.bufs[:0], 0, 0
	return packets
}
