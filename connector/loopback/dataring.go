package loopback

import "github.com/cnbus/cnbus/connector"

// dataRing holds the data of a queue's messages, each in one piece, in the order of
// their slots. Freed is what was taken before what was taken last.
type dataRing struct {
	buf  []byte
	head int // of the first byte in use
	tail int // behind the last byte in use; not before head unless wrapped
	wrap int // end of the used part when wrapped, else 0
	used int // bytes in use, without those unused at the end

	taken int // bytes at head that the last reader may still look at
	at    int // where they begin
	max   int
}

// put copies data into the ring and returns where. The queue's bounds see to it that there is
// room in a ring of the largest size; a smaller one grows.
func (r *dataRing) put(data []byte, q *queue) uint32 {
	n := len(data)
	if n == 0 {
		return 0
	}
	at, ok := r.place(n)
	for !ok {
		r.grow(n, q)
		at, ok = r.place(n)
	}
	copy(r.buf[at:], data)
	r.used += n
	return uint32(at)
}

// place finds n bytes in one piece.
func (r *dataRing) place(n int) (at int, ok bool) {
	if r.used == 0 {
		r.head, r.tail, r.wrap = 0, 0, 0
	}
	switch {
	case r.wrap > 0: // in use: head to wrap, and 0 to tail
		if r.head-r.tail < n {
			return 0, false
		}
	case len(r.buf)-r.tail >= n:
	case r.head >= n && r.used > 0:
		r.wrap, r.tail = r.tail, 0
	default:
		return 0, false
	}
	at = r.tail
	r.tail += n
	return at, true
}

// grow moves what is in use into a larger ring. What a reader may look at stays
// where it is, in the old one.
func (r *dataRing) grow(n int, q *queue) {
	size := max(4096, 2*len(r.buf))
	for size < n {
		size *= 2
	}
	if limit := r.max; size > limit && limit > len(r.buf) && limit-len(r.buf) >= n {
		size = limit
	}
	grown, to := make([]byte, size), 0
	for i := q.head; i < q.tail; i++ {
		if s := q.at(i); s.kind == connector.EventMessage && s.len > 0 {
			k := copy(grown[to:], r.buf[s.start:][:s.len])
			s.start = uint32(to)
			to += k
		}
	}
	r.buf, r.head, r.tail, r.wrap, r.used = grown, 0, to, 0, to
	r.taken = 0
}

// take returns the data of the first message, which stay valid until release.
func (r *dataRing) take(start, n uint32) []byte {
	if n == 0 {
		return nil
	}
	r.at, r.taken = int(start), int(n)
	return r.buf[start:][:n:n]
}

// release frees what was taken.
func (r *dataRing) release() {
	if r.taken == 0 {
		return
	}
	r.head = r.at + r.taken
	r.used -= r.taken
	r.taken = 0
	if r.wrap > 0 && r.head == r.wrap {
		r.head, r.wrap = 0, 0
	}
}
