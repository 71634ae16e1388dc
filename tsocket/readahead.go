package tsocket

import "sync/atomic"

// readAhead holds bytes that were read from the stream before anybody asked
// for them. It belongs to the stream, so that whoever reads next gets them: another PDU
// reader, a Readv, or the TLS that is put on top. The holder of the read slot
// owns it; only the size can be asked for by anybody.
type readAhead struct {
	buf  []byte
	r, w int
	n    atomic.Int64 // w - r
	next int          // how large the buffer is to be
}

func (a *readAhead) size() int { return int(a.n.Load()) }

func (a *readAhead) bytes() []byte { return a.buf[a.r:a.w] }

// read takes from the front into b.
func (a *readAhead) read(b []byte) int {
	n := copy(b, a.bytes())
	a.discard(n)
	return n
}

func (a *readAhead) discard(n int) {
	a.r += n
	if a.r == a.w {
		a.r, a.w = 0, 0
	}
	a.n.Store(int64(a.w - a.r))
}

// The buffer begins small, for there may be many idle streams, and doubles when
// a read has filled it.
const (
	readAheadMin = 4 << 10
	readAheadMax = 64 << 10
)

// room makes room for want bytes in all, and at least one more than there are, and
// returns the free part.
func (a *readAhead) room(want int) []byte {
	have := a.w - a.r
	want = max(want, have+1, readAheadMin, a.next)
	switch {
	case len(a.buf) < want:
		buf := make([]byte, want)
		copy(buf, a.bytes())
		a.buf, a.r, a.w = buf, 0, have
	case have == 0 || len(a.buf)-a.r < want:
		copy(a.buf, a.bytes())
		a.r, a.w = 0, have
	}
	return a.buf[a.w:]
}

// grown counts n bytes that were read into room.
func (a *readAhead) grown(n int) {
	a.w += n
	if a.w == len(a.buf) {
		a.next = min(2*len(a.buf), readAheadMax)
	}
	a.n.Store(int64(a.w - a.r))
}

// unread puts the first n bytes of bufs back to the front.
func (a *readAhead) unread(bufs [][]byte, n int64) {
	buf := make([]byte, 0, int(n)+a.size())
	for _, b := range bufs {
		take := min(n, int64(len(b)))
		buf = append(buf, b[:take]...)
		n -= take
	}
	buf = append(buf, a.bytes()...)
	a.buf, a.r, a.w = buf[:cap(buf)], 0, len(buf)
	a.n.Store(int64(len(buf)))
}
