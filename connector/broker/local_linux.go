package broker

import (
	"context"
	"io"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// local is a connection within the process: two buffers where others have a socket. The client's end are the
// operations of a tsocket.Stream; the loop's end are turn and write. However much the client writes, the loop
// is given one function to run for it.
type local struct {
	l        *loop
	c        *conn         // the loop's
	run      func()        // turn, bound once
	readable chan struct{} // of one: there is something to read, or the end
	writable chan struct{} // of one: there is room, or the end

	mu      sync.Mutex // guards what follows
	up      []byte     // from the client
	spare   []byte
	replies []byte        // whole frames that go between those of up
	took    chan struct{} // closed when replies are taken; nil if nobody waits
	posted  bool          // turn is going to run
	idle    bool          // the loop leaves what is there until c is read again
	upUse   use
	downUse use
	down    []byte // to the client
	off     int    // down[:off] has been read
	full    bool   // the loop waits for room
	room    bool   // and there is
	ended   bool   // the client writes no more
	closed  bool   // the client is gone
	broken  bool   // the loop has closed the connection

	// With landing, what comes down counts as written only when landed says so: it goes on to a peer from here. over
	// ends with the connection, by cut.
	landing bool
	flown   int
	over    context.Context
	cut     context.CancelFunc
}

// use tells whether a large buffer is worth keeping: not when little was in it for long.
type use int

func (u *use) keep(size, used int) bool {
	if *u++; used >= 16<<10 {
		*u = 0
	}
	return size <= 64<<10 || *u < 256
}

// localMax is how many bytes each direction holds.
const localMax = 256 << 10

func newLocal(l *loop) *local {
	p := &local{l: l, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	p.run = func() { p.turn() }
	return p
}

// localPair makes a client of the process itself, and the client's end.
func (l *loop) localPair(ctx context.Context) (*local, *tsocket.Stream, error) {
	p := newLocal(l)
	err := l.do(ctx, func() {
		l.adoptLocal(p, l.hub.open(l.hub.self, nil))
	})
	if err != nil {
		// If it is adopted still, it has ended.
		_ = p.Close()
		return nil, nil, err
	}
	return p, tsocket.NewStream(p), nil
}

// adoptLocal makes p the connection of c.
func (l *loop) adoptLocal(p *local, c *conn) {
	c.local, p.c = p, c
	l.waiting = append(l.waiting, c)
	l.joined = true
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// post sees to it that turn runs; it is called with mu held and releases it.
func (p *local) post() {
	again := !p.posted
	p.posted = true
	p.mu.Unlock()
	if again {
		p.l.post(p.run)
	}
}

// turn handles what has come from the client, and returns how many bytes that were.
func (p *local) turn() int {
	l, c := p.l, p.c
	p.mu.Lock()
	p.posted = false
	over := p.ended || p.closed
	if c == nil || c.closed {
		p.mu.Unlock()
		return 0
	}
	flown := p.flown
	p.flown = 0
	if p.room {
		p.room = false
		c.mute = false
		l.hub.touch(c)
	}
	if flown > 0 {
		p.mu.Unlock()
		c.mute = false
		l.hub.written(c, flown)
		l.hub.touch(c)
		p.mu.Lock()
	}
	if c.paused || c.last {
		p.idle = true
		gone := c.choked && over || p.closed && c.last
		p.mu.Unlock()
		if gone {
			l.close(c) // it will never read what it asked for
		}
		return 0
	}
	in, replies := p.up, p.replies
	p.up, p.spare, p.replies = p.spare[:0], nil, nil
	p.taken()
	p.mu.Unlock()
	wake(p.writable)

	n := len(in) + len(replies)
	if len(in) > 0 {
		p.input(in)
	}
	if len(replies) > 0 && !c.closed {
		used := l.hub.input(c, replies)
		if replies = replies[used:]; len(replies) == 0 {
			replies = nil
		}
	}
	p.mu.Lock()
	if p.upUse.keep(cap(in), len(in)) {
		p.spare = in[:0]
	}
	if replies != nil {
		p.replies = append(replies, p.replies...)
	}
	p.mu.Unlock()
	switch {
	case c.closed:
	case c.paused:
		p.again() // idle, or closed
	case over:
		l.close(c)
		return n
	}
	if l.handled += n; l.handled >= flushEach {
		l.flush()
		l.handled = 0
	}
	return n
}

// input handles bytes of the stream. A frame that was cut is put together by itself: the others stay where they are.
func (p *local) input(in []byte) {
	l, c := p.l, p.c
	for len(c.in) > 0 && len(in) > 0 && !c.paused && !c.closed {
		part := c.in // or several frames and a part, if it was paused
		c.in = nil
		for len(part) < 4 && len(in) > 0 {
			part, in = append(part, in[0]), in[1:]
		}
		if len(part) >= 4 {
			rest := min(max(0, int(native.Uint32(part))-len(part)), len(in))
			part, in = append(part, in[:rest]...), in[rest:]
		}
		l.handle(c, part)
	}
	switch {
	case c.closed || len(in) == 0:
	case c.paused:
		c.in = append(c.in, in...)
	default:
		l.handle(c, in)
	}
}

// taken wakes who waits for room among the replies, mu held.
func (p *local) taken() {
	if p.took != nil {
		close(p.took)
		p.took = nil
	}
}

// again makes the loop look at the client again.
func (p *local) again() {
	p.mu.Lock()
	p.idle = false
	p.post()
}

// write takes what there is room for; -1 if the client is gone.
func (p *local) write(b []byte) int {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return -1
	}
	n := min(len(b), localMax-(len(p.down)-p.off))
	if p.off > 0 && len(p.down)+n > cap(p.down) {
		p.down = p.down[:copy(p.down, p.down[p.off:])]
		p.off = 0
	}
	p.down = append(p.down, b[:n]...)
	p.full = n < len(b)
	p.mu.Unlock()
	if n > 0 {
		wake(p.readable)
	}
	return n
}

// flight returns what landed is to be called for when it has been written. It waits for that; io.EOF is the end.
func (p *local) flight(ctx context.Context) ([]byte, error) {
	for {
		p.mu.Lock()
		b, broken := p.down, p.broken
		p.mu.Unlock()
		switch {
		case broken || ctx.Err() != nil:
			return nil, io.EOF
		case len(b) > 0:
			return b, nil
		}
		select {
		case <-p.readable:
		case <-ctx.Done():
		}
	}
}

// landed says that the flight has been written.
func (p *local) landed() {
	p.mu.Lock()
	p.flown = len(p.down)
	if p.down = p.down[:0]; !p.downUse.keep(cap(p.down), p.flown) {
		p.down = nil
	}
	p.post()
}

// whole reports whether nothing is left of a flight.
func (p *local) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.down) == 0
}

// launch begins a flight, of as much as may be at a time; the client is gone if it returns false.
func (p *local) launch(b []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if len(p.down) == 0 && p.flown == 0 {
		p.down = append(p.down, b[:min(len(b), localMax)]...)
		wake(p.readable)
	}
	return true
}

// end closes the connection from the loop's side.
func (p *local) end() {
	p.mu.Lock()
	p.broken = true
	p.taken()
	if p.cut != nil {
		p.cut()
	}
	p.mu.Unlock()
	wake(p.readable)
	wake(p.writable)
}

// TryRead implements tsocket.TryStreamOps.
func (p *local) TryRead(bufs [][]byte) (n int, err error) {
	p.mu.Lock()
	for _, b := range bufs {
		m := copy(b, p.down[p.off:])
		p.off += m
		n += m
	}
	left := len(p.down) - p.off
	if left == 0 {
		p.off, p.down = 0, p.down[:0]
		if !p.downUse.keep(cap(p.down), n) {
			p.down = nil
		}
	}
	switch {
	case p.closed:
		n, err = 0, tsocket.ErrClosed
	case n == 0 && p.broken:
		err = io.EOF
	case n == 0:
		err = tsocket.ErrAgain
	case p.full && left <= localMax/2:
		p.full, p.room = false, true
		p.post()
		return n, nil
	}
	p.mu.Unlock()
	return n, err
}

// TryWrite implements tsocket.TryStreamOps.
func (p *local) TryWrite(bufs [][]byte) (n int, err error) {
	p.mu.Lock()
	if p.closed || p.broken || p.ended {
		p.mu.Unlock()
		return 0, syscall.EPIPE
	}
	for _, b := range bufs {
		m := min(len(b), localMax-len(p.up))
		p.up = append(p.up, b[:m]...)
		n += m
	}
	if n == 0 {
		p.mu.Unlock()
		return 0, tsocket.ErrAgain
	}
	if p.idle {
		p.mu.Unlock()
		return n, nil
	}
	p.post()
	return n, nil
}

// inside reports whether the caller is called by the loop.
func (p *local) inside() bool { return p.l.sock.Inside() }

// reply sends a whole frame that keeps no order with others, on any goroutine.
func (p *local) reply(ctx context.Context, fr []byte) error {
	for {
		p.mu.Lock()
		switch {
		case p.closed || p.broken || p.ended:
			p.mu.Unlock()
			return connector.ErrClosed
		case len(p.replies) == 0 || len(p.replies)+len(fr) <= localMax:
			p.replies = append(p.replies, fr...)
			if p.idle {
				p.mu.Unlock()
				return nil
			}
			p.post()
			return nil
		}
		if p.took == nil {
			p.took = make(chan struct{})
		}
		took := p.took
		p.mu.Unlock()
		select {
		case <-took:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReadSome implements tsocket.StreamOps.
func (p *local) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := p.TryRead(bufs); err != tsocket.ErrAgain {
			return n, err
		}
		select {
		case <-p.readable:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Writev implements tsocket.StreamOps.
func (p *local) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
	for _, b := range bufs {
		for len(b) > 0 {
			if err := ctx.Err(); err != nil {
				return sum, err
			}
			n, err := p.TryWrite([][]byte{b})
			b, sum = b[n:], sum+int64(n)
			if err == nil {
				continue
			}
			if err != tsocket.ErrAgain {
				return sum, err
			}
			select {
			case <-p.writable:
			case <-ctx.Done():
				return sum, ctx.Err()
			}
		}
	}
	return sum, nil
}

// Pending implements tsocket.StreamOps.
func (p *local) Pending() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.down) - p.off
	if n == 0 && (p.broken || p.closed) {
		return 0, syscall.EPIPE
	}
	return n, nil
}

// CloseWrite implements tsocket.CloseWriteOps.
func (p *local) CloseWrite(context.Context) error {
	p.mu.Lock()
	p.ended = true
	p.post()
	return nil
}

// Disconnect implements tsocket.StreamOps.
func (p *local) Disconnect(context.Context) error { return p.Close() }

// Close implements tsocket.StreamOps.
func (p *local) Close() error {
	p.mu.Lock()
	p.closed = true
	p.taken()
	p.post()
	wake(p.readable)
	wake(p.writable)
	return nil
}
