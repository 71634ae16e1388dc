package bussock

import (
	"math/bits"
	"sync"
)

// ring holds the bytes that have arrived and were not read yet. An empty one has no memory of its own.
type ring struct {
	mem  *[]byte // nil: buf is none of rings
	buf  []byte
	r, n int // where it begins, and how much it holds
}

// rings keeps the memory of rings by the power of two that is its size.
var rings [31]sync.Pool

const leastRing = 12 // 4 KiB

// put appends b.
func (q *ring) put(b []byte) {
	if q.n+len(b) > len(q.buf) {
		q.grow(q.n + len(b))
	}
	w := q.r + q.n
	if w >= len(q.buf) {
		w -= len(q.buf)
	}
	q.n += len(b)
	k := copy(q.buf[w:], b)
	copy(q.buf, b[k:])
}

func (q *ring) grow(n int) {
	class := max(bits.Len(uint(n-1)), leastRing)
	mem, _ := rings[class].Get().(*[]byte)
	if mem == nil {
		b := make([]byte, 1<<class)
		mem = &b
	}
	buf := *mem
	first := copy(buf, q.buf[q.r:min(q.r+q.n, len(q.buf))])
	copy(buf[first:], q.buf[:q.n-first])
	n = q.n
	q.free()
	q.mem, q.buf, q.n = mem, buf, n
}

// take fills bufs with what there is.
func (q *ring) take(bufs [][]byte) (n int) {
	if q.n == 0 {
		return 0
	}
	for _, b := range bufs {
		for len(b) > 0 && q.n > 0 {
			k := copy(b, q.buf[q.r:min(q.r+q.n, len(q.buf))])
			b, n = b[k:], n+k
			if q.r += k; q.r == len(q.buf) {
				q.r = 0
			}
			q.n -= k
		}
	}
	if q.n == 0 {
		q.free()
	}
	return n
}

// free throws away what there is.
func (q *ring) free() {
	if q.mem != nil {
		rings[bits.Len(uint(len(*q.mem)-1))].Put(q.mem)
	}
	*q = ring{}
}
