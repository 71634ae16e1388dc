package tsagent

// ring holds bytes in the order in which they came. It grows to what is needed.
type ring struct {
	buf  []byte
	r, n int // where it begins, and how much it holds
}

func (q *ring) put(b []byte) {
	if need := q.n + len(b); need > len(q.buf) {
		buf := make([]byte, max(need, 2*len(q.buf), 2048))
		q.copyTo(buf[:q.n])
		q.buf, q.r = buf, 0
	}
	w := q.r + q.n
	if w >= len(q.buf) {
		w -= len(q.buf)
	}
	k := copy(q.buf[w:], b)
	copy(q.buf, b[k:])
	q.n += len(b)
}

// copyTo copies the first bytes.
func (q *ring) copyTo(b []byte) {
	k := copy(b, q.buf[q.r:min(q.r+q.n, len(q.buf))])
	copy(b[k:], q.buf)
}

// take moves bytes into b, as many as there are and fit.
func (q *ring) take(b []byte) int {
	n := min(len(b), q.n)
	if n == 0 {
		return 0
	}
	q.copyTo(b[:n])
	if q.r += n; q.r >= len(q.buf) {
		q.r -= len(q.buf)
	}
	if q.n -= n; q.n == 0 {
		q.r = 0
	}
	return n
}
