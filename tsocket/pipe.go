package tsocket

import (
	"context"
	"io"
	"sync"
	"syscall"
)

// Pipe returns two connected streams in memory. Each direction holds up to 64
// KiB that were written and not yet read. They behave as those of SocketPair do, in a
// testing/synctest bubble too, where nothing outside makes them wait.
func Pipe() (*Stream, *Stream) {
	ab, ba := newPipeHalf(), newPipeHalf()
	a, b := &pipeEnd{in: ba, out: ab}, &pipeEnd{in: ab, out: ba}
	a.peer, b.peer = b, a
	return NewStream(a), NewStream(b)
}

// pipeMax is how many bytes a direction holds.
const pipeMax = 64 << 10

// pipeHalf is one direction.
type pipeHalf struct {
	mu    sync.Mutex // guards the fields below
	buf   []byte     // a ring
	r, n  int        // where it begins, and how much it holds
	eof   bool       // the writer has finished
	noUse bool       // the reader is gone

	readable, writable chan struct{} // of one: something has changed for who waits
}

func newPipeHalf() *pipeHalf {
	return &pipeHalf{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put takes what there is room for.
func (h *pipeHalf) put(bufs [][]byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.eof || h.noUse {
		return 0, syscall.EPIPE
	}
	for _, b := range bufs {
		h.grow(len(b))
		for len(b) > 0 && h.n < len(h.buf) {
			w := (h.r + h.n) % len(h.buf)
			end := len(h.buf)
			if w < h.r {
				end = h.r
			}
			m := copy(h.buf[w:end], b)
			b, h.n, n = b[m:], h.n+m, n+m
		}
		if len(b) > 0 {
			break
		}
	}
	if n == 0 {
		return 0, ErrAgain
	}
	wake(h.readable)
	return n, nil
}

// grow makes room for n more bytes, as far as that is allowed: pipes that are
// not used much are to be small.
func (h *pipeHalf) grow(n int) {
	if h.n+n <= len(h.buf) || len(h.buf) == pipeMax {
		return
	}
	buf := make([]byte, min(pipeMax, max(2*len(h.buf), h.n+n, 512)))
	first := copy(buf, h.buf[h.r:min(h.r+h.n, len(h.buf))])
	copy(buf[first:], h.buf[:h.n-first])
	h.buf, h.r = buf, 0
}

// take fills bufs with what is there.
func (h *pipeHalf) take(bufs [][]byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range bufs {
		for len(b) > 0 && h.n > 0 {
			m := copy(b, h.buf[h.r:min(h.r+h.n, len(h.buf))])
			b, n = b[m:], n+m
			h.r, h.n = (h.r+m)%len(h.buf), h.n-m
		}
	}
	switch {
	case n > 0:
		wake(h.writable)
		return n, nil
	case h.eof:
		return 0, io.EOF
	}
	return 0, ErrAgain
}

// finish ends the writing side, or with all both.
func (h *pipeHalf) finish(all bool) {
	h.mu.Lock()
	h.eof = true
	h.noUse = h.noUse || all
	h.mu.Unlock()
	wake(h.readable)
	wake(h.writable)
}

// state returns how much there is, and why there will be no more after that.
func (h *pipeHalf) state() (n int, end error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.noUse:
		end = syscall.EPIPE
	case h.eof:
		end = syscall.ECONNRESET
	}
	return h.n, end
}

// pipeEnd is the ops of one end.
type pipeEnd struct {
	in, out *pipeHalf
	peer    *pipeEnd

	mu       sync.Mutex // guards the fields below
	closed   bool
	halfOpen bool
	broken   func(error) // the monitor
}

func (p *pipeEnd) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// TryRead reads what is there.
func (p *pipeEnd) TryRead(bufs [][]byte) (int, error) {
	if p.isClosed() {
		return 0, ErrClosed
	}
	return p.in.take(bufs)
}

// TryWrite writes what there is room for.
func (p *pipeEnd) TryWrite(bufs [][]byte) (int, error) {
	if p.isClosed() {
		return 0, ErrClosed
	}
	return p.out.put(bufs)
}

// ReadSome waits until there is something.
func (p *pipeEnd) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := p.TryRead(bufs); err != ErrAgain {
			return n, err
		}
		select {
		case <-p.in.readable:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Writev waits until everything has found room.
func (p *pipeEnd) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	var few [8][]byte
	left := append(few[:0], bufs...)
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		n, err := p.TryWrite(left)
		sum += int64(n)
		if left = advance(left, n); len(left) == 0 {
			return sum, nil
		}
		switch {
		case err != nil && err != ErrAgain:
			return sum, err
		case n > 0:
			continue
		}
		if err := p.finishedByPeer(); err != nil {
			return sum, err
		}
		select {
		case <-p.out.writable:
		case <-ctx.Done():
			return sum, ctx.Err()
		}
	}
}

// finishedByPeer is the error of a write that would wait for a peer that has
// ended its own direction.
func (p *pipeEnd) finishedByPeer() error {
	p.mu.Lock()
	halfOpen := p.halfOpen
	p.mu.Unlock()
	if halfOpen {
		return nil
	}
	_, end := p.in.state()
	return end
}

// Pending returns how many bytes there are.
func (p *pipeEnd) Pending() (int, error) {
	n, end := p.in.state()
	if n > 0 {
		end = nil
	}
	return n, end
}

// Monitor waits for the peer.
func (p *pipeEnd) Monitor(broken func(error)) (stop func(), err error) {
	p.mu.Lock()
	p.broken = broken
	p.mu.Unlock()
	p.tellMonitor() // of what happened before
	return func() {
		p.mu.Lock()
		p.broken = nil
		p.mu.Unlock()
	}, nil
}

// tellMonitor tells what the peer has done, if anything.
func (p *pipeEnd) tellMonitor() {
	_, end := p.in.state()
	if end == nil {
		return
	}
	p.mu.Lock()
	broken := p.broken
	p.broken = nil
	p.mu.Unlock()
	if broken != nil {
		broken(end)
	}
}

// CloseWrite ends the writing side.
func (p *pipeEnd) CloseWrite(context.Context) error {
	p.out.finish(false)
	wake(p.peer.out.writable)
	p.peer.tellMonitor()
	return nil
}

// Disconnect ends both sides.
func (p *pipeEnd) Disconnect(context.Context) error { return p.Close() }

// Close ends both sides.
func (p *pipeEnd) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.out.finish(true)
	p.in.finish(true)
	p.peer.tellMonitor()
	return nil
}

// SetHalfOpen says whether a write goes on waiting when the peer has finished writing.
func (p *pipeEnd) SetHalfOpen(on bool) {
	p.mu.Lock()
	p.halfOpen = on
	p.mu.Unlock()
}
