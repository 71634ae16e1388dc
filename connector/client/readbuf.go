package client

import (
	"encoding/binary"
	"errors"

	"github.com/cnbus/cnbus/connector/internal/frame"
)

const (
	readMin = 4 << 10
	readMax = 64 << 10
	// shrinkAfter reads in a row that a buffer of a quarter would have held
	// make it smaller.
	shrinkAfter = 256
)

// readBuf is what was read and not yet parsed. It starts small, grows while
// reads fill it, and shrinks when they no longer do. Its bytes may be lent: then it
// goes on in another buffer and leaves them alone until they come back.
type readBuf struct {
	b     []byte
	r, w  int // b[r:w] is not parsed
	lent  bool
	away  []byte // the lent bytes' buffer, when b has become another
	spare []byte
	size  int // that the next buffer should have
	small int // reads in a row that needed little
}

// next returns the frame at the front, if all of it is there. Its body is valid until
// room is called, or as long as it is lent. An error is a violation.
func (q *readBuf) next() (h frame.Header, body []byte, ok bool, err error) {
	if q.w-q.r < frame.HeaderLen {
		return h, nil, false, q.shortError()
	}
	h, body, err = frame.Parse(q.b[q.r:q.w])
	switch {
	case err == nil:
		q.r += int(h.Len)
		return h, body, true, nil
	case errors.Is(err, frame.ErrShort):
		return h, nil, false, nil
	}
	return h, nil, false, violation("%v", err)
}

// shortError tells an impossible length as soon as it can be seen.
func (q *readBuf) shortError() error {
	if q.w-q.r >= 4 {
		if n := binary.NativeEndian.Uint32(q.b[q.r:]); n < frame.HeaderLen || n > frame.MaxLen {
			return violation("%v %d", frame.ErrLength, n)
		}
	}
	return nil
}

// whole reports whether next has a frame or an error to return.
func (q *readBuf) whole() bool {
	have := q.w - q.r
	if have < 4 {
		return false
	}
	n := int(binary.NativeEndian.Uint32(q.b[q.r:]))
	return n < frame.HeaderLen || n > frame.MaxLen || have >= n
}

// lend makes the bytes of the last frame stay as they are until giveBack.
func (q *readBuf) lend() { q.lent = true }

func (q *readBuf) giveBack() {
	if !q.lent {
		return
	}
	q.lent = false
	if q.away != nil {
		if len(q.away) == q.size {
			q.spare = q.away
		}
		q.away = nil
	}
}

// room returns where to read to: at least the rest of the frame that has begun.
func (q *readBuf) room() []byte {
	need := 1
	if have := q.w - q.r; have >= 4 {
		need = max(int(binary.NativeEndian.Uint32(q.b[q.r:]))-have, 1)
	}
	pinned := q.lent && q.away == nil
	if q.r == q.w && !pinned {
		q.r, q.w = 0, 0
		if q.size == len(q.b) && q.size > 0 {
			return q.b
		}
	}
	if q.size == 0 {
		q.size = readMin
	}
	// Moving what is there pays only when the room is nearly gone.
	if len(q.b)-q.w >= max(need, len(q.b)/4, 1) && (q.r != q.w || len(q.b) == q.size) {
		return q.b[q.w:]
	}
	for q.size < q.w-q.r+need {
		q.size *= 2
	}
	if pinned || len(q.b) != q.size {
		q.swap()
	} else {
		q.w = copy(q.b, q.b[q.r:q.w])
		q.r = 0
	}
	return q.b[q.w:]
}

// swap goes on in another buffer.
func (q *readBuf) swap() {
	nb := q.spare
	q.spare = nil
	if len(nb) != q.size {
		nb = make([]byte, q.size)
	}
	n := copy(nb, q.b[q.r:q.w])
	if q.lent && q.away == nil {
		q.away = q.b
	}
	q.b, q.r, q.w = nb, 0, n
}

// filled takes note of a read of n bytes into what room returned.
func (q *readBuf) filled(n int) {
	q.w += n
	switch {
	case q.w == len(q.b) && q.size < readMax:
		q.size *= 2
		q.small = 0
	case n > len(q.b)/4:
		q.small = 0
	case q.size > readMin:
		if q.small++; q.small == shrinkAfter {
			q.small = 0
			q.size /= 2
		}
	}
}

// reset drops what was not parsed, as belongs to a connection that is gone.
func (q *readBuf) reset() {
	q.r = q.w
	q.small = 0
}
