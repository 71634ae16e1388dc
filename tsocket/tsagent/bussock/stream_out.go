package bussock

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// outbound is the direction towards the other end. What is written is gathered in chunks, each of which becomes a message.
//
// A write on its own is posted by who writes. Writes that come closer together than coalesceGap fill a chunk, which
// leaves when it is full, or when a goroutine that was started for it has its turn.
type outbound struct {
	chunks  []*chunk // the last may have room
	written uint64   // bytes that are in chunks, or were
	limit   uint64   // how many the other end takes
	sent    uint64   // bytes that were in chunks and are posted, or being
	last    time.Duration

	end     bool   // nothing more will be written
	gone    bool   // nor read
	ended   bool   // the other end was told of end
	parted  bool   // and of gone
	reset   *Error // that the other end is to be told of, instead of anything else
	posting bool   // somebody posts; it goes on until there is nothing left
	// scheduled: a goroutine is about to look whether somebody posts.
	scheduled bool

	fly  letter // that is being posted
	nw   noWait // of who posts without waiting
	note [headerLen]byte
}

// chunk is the data of a message.
type chunk struct {
	n       int // with the header
	parcels int // of a datagram socket that receives: how many are in it
	b       [connector.MaxData]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// letter is a message to be posted.
type letter struct {
	data []byte
	c    *chunk // that data is in; nil for one without data of the stream
}

const (
	// mostChunks is how many are filled and not posted yet.
	mostChunks = 4
	// coalesceGap is how close two writes must be for the second to wait for company.
	coalesceGap = 10 * time.Microsecond
)

var epoch = time.Now()

func since() time.Duration { return time.Since(epoch) }

// granted takes in how much the other end takes; a text says why that cannot be.
func (s *stream) granted(limit uint64, body int) (wrong string) {
	o := &s.out
	switch {
	case body != 0:
		return "a window with data"
	case limit < o.limit:
		return "a window that shrinks"
	case limit > o.written+mostWindow:
		return "a window beyond all bounds"
	}
	o.limit = limit
	wake(s.writable)
	return ""
}

// fill takes what there is room for. s.mu is held.
func (s *stream) fill(bufs [][]byte) (n int) {
	o := &s.out
	room := o.limit - o.written
	for _, b := range bufs {
		for len(b) > 0 && room > 0 {
			var c *chunk
			if k := len(o.chunks); k > 0 {
				c = o.chunks[k-1]
			}
			if c == nil || c.n == len(c.b) {
				if len(o.chunks) == mostChunks {
					return n
				}
				c = chunks.Get().(*chunk)
				c.n = headerLen
				o.chunks = append(o.chunks, c)
			}
			k := copy(c.b[c.n:], b[:min(uint64(len(b)), room)])
			c.n += k
			b, n = b[k:], n+k
			room -= uint64(k)
			o.written += uint64(k)
		}
	}
	return n
}

// drop forgets what was not posted.
func (o *outbound) drop() {
	for _, c := range o.chunks {
		chunks.Put(c)
	}
	clear(o.chunks)
	o.chunks = o.chunks[:0]
	o.sent = o.written
}

// due reports whether there is something to be posted.
func (o *outbound) due(s *stream) bool {
	switch {
	case o.fly.data != nil || o.reset != nil:
		return true
	case s.broken != nil || !s.isReady:
		return false
	}
	return s.in.due && !s.closed && !s.in.gone || len(o.chunks) > 0 ||
		o.end && !o.ended && !s.in.gone || o.gone && !o.parted && !s.in.gone
}

// next returns what is to be posted next. s.mu is held.
func (s *stream) next() (letter, bool) {
	o := &s.out
	if !o.due(s) {
		return letter{}, false
	}
	h := header{sock: s.peerNum}
	switch {
	case o.fly.data != nil:
	case o.reset != nil:
		h.op, h.arg = opReset, uint64(o.reset.Errno)
		o.fly.data = h.append(nil, []byte(cut(o.reset.Text))...)
		o.reset = nil
	case s.in.due && !s.closed:
		s.in.due = false
		s.in.limit = s.in.taken + uint64(s.n.cfg.Window)
		h.op, h.arg = opWindow, s.in.limit
		h.put(o.note[:])
		o.fly.data = o.note[:]
	default:
		h.op, h.arg = opData, o.sent
		o.fly.data = o.note[:]
		if len(o.chunks) > 0 {
			c := o.chunks[0]
			copy(o.chunks, o.chunks[1:])
			o.chunks[len(o.chunks)-1] = nil
			o.chunks = o.chunks[:len(o.chunks)-1]
			o.sent += uint64(c.n - headerLen)
			o.fly = letter{c.b[:c.n], c}
		}
		if o.end && len(o.chunks) == 0 {
			h.flags, o.ended = flagEnd, true
			if o.gone {
				h.flags, o.parted = flagEnd|flagGone, true
			}
		}
		h.put(o.fly.data)
	}
	return o.fly, true
}

// kick sees to it that what there is gets posted: at once, by the caller, if that needs no waiting; with later it
// is left to a goroutine. s.mu is held, and released meanwhile.
func (s *stream) kick(later bool) {
	o := &s.out
	switch {
	case o.posting || o.scheduled && later || !o.due(s):
		return
	case later, len(o.chunks) == 1 && o.chunks[0].n < len(o.chunks[0].b) && since()-o.last < coalesceGap:
		if !o.scheduled {
			o.scheduled = true
			s.n.wg.Add(1)
			go s.coalesceFn()
		}
		return
	}
	o.posting = true
	s.post(true)
}

// coalesce posts what has come together.
func (s *stream) coalesce() {
	defer s.n.wg.Done()
	runtime.Gosched() // who writes may have more
	s.mu.Lock()
	s.out.scheduled = false
	if !s.out.posting {
		s.out.posting = true
		s.post(false)
	}
	s.settle()
	s.mu.Unlock()
}

// carryOn waits in the place of somebody who must not.
func (s *stream) carryOn() {
	defer s.n.wg.Done()
	s.mu.Lock()
	s.post(false)
	s.mu.Unlock()
}

// post posts until there is nothing left, or with quick until it would have to wait, when a goroutine
// goes on. The caller has set posting and holds s.mu, which is released while the carrier has a message.
func (s *stream) post(quick bool) {
	o := &s.out
	for {
		l, ok := s.next()
		if !ok {
			o.posting = false
			s.settle()
			return
		}
		m := connector.Message{ID: cbid.BusSock, Seq: s.num, Data: l.data}
		to := connector.Dest{Port: s.peer}
		var ctx context.Context = s.up.ctx
		if quick {
			o.nw.over.Store(false)
			ctx = &o.nw
		}
		s.mu.Unlock()
		err := s.n.ep.Post(ctx, m, to)
		s.mu.Lock()
		if err != nil && quick && o.nw.over.Load() {
			s.n.wg.Add(1)
			go s.carryOnFn()
			return
		}
		o.fly = letter{}
		o.last = since()
		if l.c != nil {
			chunks.Put(l.c)
			wake(s.writable)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			s.failLocked(ofPeer(err), false)
		}
	}
}

// writeError is why nothing can be written, nil if it can. s.mu is held.
func (s *stream) writeError() error {
	switch {
	case s.closed:
		return tsocket.ErrClosed
	case s.broken != nil:
		return s.broken
	case s.in.gone, s.out.end:
		return syscall.EPIPE
	}
	return nil
}

// TryWrite writes what there is room for.
func (s *stream) TryWrite(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeError(); err != nil {
		return 0, err
	}
	n := s.fill(bufs)
	if n == 0 {
		return 0, tsocket.ErrAgain
	}
	s.kick(false)
	return n, nil
}

// Writev waits until everything has found room.
func (s *stream) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	var few [8][]byte
	left := append(few[:0], bufs...)
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := s.TryWrite(left)
		sum += int64(n)
		if left = advance(left, n); len(left) == 0 {
			return sum, nil
		}
		switch {
		case err != nil && err != tsocket.ErrAgain:
			return sum, err
		case n > 0:
			continue
		}
		if err := s.finishedByPeer(); err != nil {
			return sum, err
		}
		select {
		case <-s.writable:
		case <-ctx.Done():
			return sum, ctx.Err()
		}
	}
}

// finishedByPeer is the error of a write that would wait for a peer that has ended its own direction.
func (s *stream) finishedByPeer() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halfOpen || !s.in.eof {
		return nil
	}
	return s.end()
}

// advance takes the first n bytes off bufs.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}
