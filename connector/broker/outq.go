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

// bufPool is the free memory of drained queues, by size. The loop owns it. A
// queue that grows takes the next size, so that steady traffic allocates nothing
// and clears nothing.
type bufPool struct {
	free [len(bufSizes)][][]byte
}

var (
	bufSizes = [...]int{4 << 10, 64 << 10, 512 << 10, 4 << 20}
	bufKeep  = [...]int{256, 64, 8, 2} // buffers kept of each size
)

// get returns an empty buffer for at least n bytes.
func (p *bufPool) get(n int) []byte {
	for i, size := range bufSizes {
		if n > size {
			continue
		}
		if k := len(p.free[i]); k > 0 {
			b := p.free[i][k-1]
			p.free[i] = p.free[i][:k-1]
			return b
		}
		return make([]byte, 0, size)
	}
	// Only answers come so far. Room for many more of them: else each would move all that waits.
	return make([]byte, 0, n+n/4)
}

func (p *bufPool) put(b []byte) {
	for i, size := range bufSizes {
		if cap(b) == size && len(p.free[i]) < bufKeep[i] {
			p.free[i] = append(p.free[i], b[:0])
		}
	}
}

// len is the number of bytes not written yet.
func (q *outq) len() int { return len(q.buf) - q.off }

// pending returns the bytes not written yet.
func (q *outq) pending() []byte { return q.buf[q.off:] }

// extend makes room for n more bytes and returns them for the caller to fill.
func (q *outq) extend(p *bufPool, n int) []byte {
	l := len(q.buf)
	q.enq += uint64(n)
	if l+n <= cap(q.buf) {
		q.buf = q.buf[:l+n]
		return q.buf[l : l+n : l+n]
	}
	return q.grow(p, n)
}

// grow is extend where the buffer's end is reached: what is waiting moves to
// the front, or to a larger buffer.
func (q *outq) grow(p *bufPool, n int) []byte {
	waiting := q.len()
	nb := q.buf
	if waiting+n > cap(q.buf)/2 {
		nb = p.get(max(waiting+n, cap(q.buf)+1))
	}
	nb = nb[:waiting+n]
	copy(nb, q.buf[q.off:])
	if cap(nb) != cap(q.buf) {
		p.put(q.buf)
	}
	q.buf, q.off = nb, 0
	return nb[waiting : waiting+n : waiting+n]
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
