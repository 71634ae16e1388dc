package client

import (
	"sync"
	"sync/atomic"
)

// sharedBuf is a read buffer whose bytes mailboxes borrow. The reader and each
// borrower hold a reference; the last one gives it to who needs one next.
type sharedBuf struct {
	b    []byte
	refs atomic.Int32
}

var sharedPool sync.Pool

func (s *sharedBuf) release() {
	if s.refs.Add(-1) == 0 {
		sharedPool.Put(s)
	}
}

// sharedReader is a readBuf over sharedBufs.
type sharedReader struct {
	buf readBuf
	cur *sharedBuf // whose bytes buf has
}

// room returns where to read to, in a buffer that nobody else looks at.
func (r *sharedReader) room() []byte {
	q := &r.buf
	var free *sharedBuf
	if r.cur != nil && r.cur.refs.Load() > 1 {
		q.lent = true
		if free, _ = sharedPool.Get().(*sharedBuf); free != nil {
			q.spare = free.b
		}
	}
	room := q.room()
	if r.cur == nil || &r.cur.b[0] != &q.b[0] {
		if r.cur != nil {
			r.cur.release()
		}
		if free != nil && &free.b[0] == &q.b[0] {
			r.cur, free = free, nil
		} else {
			r.cur = &sharedBuf{b: q.b}
		}
		r.cur.refs.Store(1)
	}
	if free != nil {
		sharedPool.Put(free)
	}
	q.lent, q.away, q.spare = false, nil, nil
	return room
}
