package broker

// outq is what waits to be written to one client: bytes of whole frames, one
// after the other. A drained queue gives its memory back, so that an idle
// connection holds none.
type outq struct {
	buf []byte
	off int // buf[:off] is written

	// Totals since the connection began: a frame appended when enq was n is
	// written once sent exceeds n.
	enq  uint64
	sent uint64
}

// bufPool is the free memory of drained queues. The loop owns it.
type bufPool struct {
	free [][]byte
}

const (
	outqMin  = 4 << 10   // first buffer of a queue
	outqKeep = 256 << 10 // larger buffers are not kept
	poolMax  = 64        // buffers kept
)

func (p *bufPool) get() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return make([]byte, 0, outqMin)
}

func (p *bufPool) put(b []byte) {
	if cap(b) <= outqKeep && cap(b) > 0 && len(p.free) < poolMax {
		p.free = append(p.free, b[:0])
	}
}

// len is the number of bytes not written yet.
func (q *outq) len() int { return len(q.buf) - q.off }

// pending returns the bytes not written yet.
func (q *outq) pending() []byte { return q.buf[q.off:] }

// extend makes room for n more bytes and returns them for the caller to fill.
func (q *outq) extend(p *bufPool, n int) []byte {
	if q.buf == nil {
		q.buf = p.get()
	}
	l := len(q.buf)
	if l+n > cap(q.buf) && q.off > 0 && q.off >= l/2 {
		l = copy(q.buf, q.buf[q.off:])
		q.buf, q.off = q.buf[:l], 0
	}
	if l+n > cap(q.buf) {
		size := max(2*cap(q.buf), l+n)
		nb := make([]byte, l-q.off, size)
		copy(nb, q.buf[q.off:])
		p.put(q.buf)
		l, q.buf, q.off = len(nb), nb, 0
	}
	q.buf = q.buf[:l+n]
	q.enq += uint64(n)
	return q.buf[l : l+n]
}

// written takes note that the first n pending bytes are out.
func (q *outq) written(p *bufPool, n int) {
	q.off += n
	q.sent += uint64(n)
	if q.off == len(q.buf) {
		p.put(q.buf)
		q.buf, q.off = nil, 0
	}
}
