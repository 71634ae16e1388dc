package tsagent

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/tsocket"
)

// clientStream is the ops of a stream of the agent.
type clientStream struct {
	c   *Client
	num uint32

	out []byte // the message that is being made; of who writes

	mu            sync.Mutex // guards the fields below
	local, remote tsocket.Addr
	seq           uint32
	closed        bool
	err           error // the socket is lost
	halfOpen      bool

	in      ring
	ended   bool
	endErr  error // nil: the peer has finished writing
	taken   int   // bytes read and not granted again
	window  int   // bytes that the agent takes
	werr    error
	broken  func(error)
	hangup  error
	watched bool

	readable, writable chan struct{} // of one: something has changed for who waits
}

func newClientStream(c *Client, num uint32, window int) *clientStream {
	return &clientStream{
		c: c, num: num, window: window,
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// event takes what the agent tells.
func (s *clientStream) event(h Header, seq uint32, body []byte) {
	s.mu.Lock()
	s.seq++
	var told error // to the monitor
	switch {
	case s.closed || s.err != nil:
	case seq != s.seq:
		told = s.lose(&Error{syscall.EIO, "events of the socket were lost"})
	case h.Op == EvData:
		if s.in.n+len(body) > 2*s.c.cfg.Window {
			told = s.lose(&Error{syscall.EPROTO, "the agent sent more than the window allows"})
			break
		}
		s.in.put(body)
	case h.Op == EvEnd:
		s.endErr, told = parseErrno(body)
		s.ended = true
		if told != nil {
			told = s.lose(told)
		}
	case h.Op == EvWindow:
		s.window += int(min(h.Arg, 1<<30))
	case h.Op == EvWriteError:
		if s.werr, told = parseErrno(body); s.werr == nil {
			s.werr = syscall.EPIPE
		}
	case h.Op == EvHangup:
		if s.hangup, _ = parseErrno(body); s.hangup == nil {
			s.hangup = syscall.EPIPE
		}
		told = s.hangup
	case h.Op == EvError:
		why, _ := parseErrno(body)
		if why == nil {
			why = ErrDown
		}
		told = s.lose(why)
	}
	s.mu.Unlock()
	s.wakeAll(told)
}

// lose fails the socket, s.mu held. It returns err.
func (s *clientStream) lose(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}

func (s *clientStream) wakeAll(told error) {
	wake(s.readable)
	wake(s.writable)
	if told == nil {
		return
	}
	s.mu.Lock()
	broken := s.broken
	s.broken = nil
	s.mu.Unlock()
	if broken != nil {
		broken(told)
	}
}

func (s *clientStream) fail(err error) {
	s.mu.Lock()
	s.lose(err)
	s.mu.Unlock()
	s.wakeAll(err)
}

// TryRead reads what is there.
func (s *clientStream) TryRead(bufs [][]byte) (int, error) {
	s.mu.Lock()
	n := 0
	for _, b := range bufs {
		n += s.in.take(b)
	}
	s.taken += n
	grant := 0
	if s.taken >= s.c.cfg.Window/2 && !s.ended {
		grant, s.taken = s.taken, 0
	}
	err := s.readErr()
	s.mu.Unlock()
	if grant > 0 {
		_ = s.c.postHeader(Header{Op: OpWindow, Sock: s.num, Arg: uint64(grant)})
	}
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// readErr is why there is nothing, s.mu held.
func (s *clientStream) readErr() error {
	switch {
	case s.closed:
		return tsocket.ErrClosed
	case s.ended && s.endErr == nil:
		return io.EOF
	case s.ended:
		return s.endErr
	case s.err != nil:
		return s.err
	}
	return tsocket.ErrAgain
}

// ReadSome waits until there is something.
func (s *clientStream) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := s.TryRead(bufs); err != tsocket.ErrAgain {
			return n, err
		}
		select {
		case <-s.readable:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// take reserves room for a write of up to n bytes: how much of it the agent takes now.
func (s *clientStream) take(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, tsocket.ErrClosed
	case s.err != nil:
		return 0, s.err
	case s.werr != nil:
		return 0, s.werr
	}
	n = min(n, s.window, MaxBody)
	switch {
	case n > 0:
		s.window -= n
		return n, nil
	case s.ended && !s.halfOpen:
		return 0, syscall.ECONNRESET // as that of a descriptor, which would wait for a peer that has finished
	}
	return 0, tsocket.ErrAgain
}

// TryWrite writes what fits into one message and the window.
func (s *clientStream) TryWrite(bufs [][]byte) (int, error) {
	sum := 0
	for _, b := range bufs {
		if sum += len(b); sum >= MaxBody {
			break
		}
	}
	n, err := s.take(sum)
	if err != nil {
		return 0, err
	}
	h := Header{Op: OpWritev, Flags: FlagNoReply, Sock: s.num}
	s.out = h.Append(s.out[:0])
	for left := n; left > 0; bufs = bufs[1:] {
		k := min(left, len(bufs[0]))
		s.out = append(s.out, bufs[0][:k]...)
		left -= k
	}
	if err := s.c.post(s.num, s.out); err != nil {
		return 0, err
	}
	return n, nil
}

// Writev waits until the agent has taken everything.
func (s *clientStream) Writev(ctx context.Context, bufs [][]byte) (sum int64, err error) {
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
		case err == nil:
			continue
		case err != tsocket.ErrAgain:
			return sum, err
		}
		select {
		case <-s.writable:
		case <-ctx.Done():
			return sum, ctx.Err()
		}
	}
}

// advance drops the first n bytes of bufs, and what is empty then.
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

// Pending returns how many bytes there are.
func (s *clientStream) Pending() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in.n > 0 {
		return s.in.n, nil
	}
	switch err := s.readErr(); err {
	case tsocket.ErrAgain:
		return 0, nil
	case io.EOF:
		if s.remote.IsUnix() || s.local.IsUnix() {
			return 0, syscall.EPIPE
		}
		return 0, syscall.ECONNRESET
	default:
		return 0, err
	}
}

// Monitor has the agent watch the connection.
func (s *clientStream) Monitor(broken func(error)) (stop func(), err error) {
	s.mu.Lock()
	now := s.hangup
	for _, why := range []error{s.err, s.werr} {
		if why != nil {
			now = why
		}
	}
	ask := now == nil && !s.watched
	if now == nil {
		s.broken = broken
		s.watched = true
	}
	s.mu.Unlock()
	if ask {
		err = s.c.postHeader(Header{Op: OpMonitor, Sock: s.num})
	}
	if now != nil {
		broken(now)
	}
	return func() {
		s.mu.Lock()
		s.broken = nil
		s.mu.Unlock()
	}, err
}

// CloseWrite returns when everything is written and the end too.
func (s *clientStream) CloseWrite(ctx context.Context) error {
	_, _, err := s.c.call(ctx, Header{Op: OpCloseWrite, Sock: s.num}, nil)
	return err
}

// Disconnect returns when everything is written and the socket closed. The end of the agent ends the socket too.
func (s *clientStream) Disconnect(ctx context.Context) error {
	s.mu.Lock()
	down := errors.Is(s.err, ErrDown)
	s.mu.Unlock()
	return s.c.disconnect(ctx, s.num, down, s)
}

// Close has the agent close the socket. It goes on to write what it has taken, for a while.
func (s *clientStream) Close() error {
	if s.shut() {
		_ = s.c.postHeader(Header{Op: OpClose, Sock: s.num})
	}
	return nil
}

// shut ends the socket here, and reports whether the agent has it still.
func (s *clientStream) shut() bool {
	s.c.remove(s.num, s)
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.in = ring{}
	lost := s.err
	s.mu.Unlock()
	s.wakeAll(nil)
	return !was && !errors.Is(lost, ErrDown)
}

func (s *clientStream) LocalAddr() tsocket.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.local
}

func (s *clientStream) RemoteAddr() tsocket.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remote
}

// SetHalfOpen is that of the Stream.
func (s *clientStream) SetHalfOpen(on bool) {
	s.mu.Lock()
	s.halfOpen = on
	s.mu.Unlock()
}

// The options, see tsocket's Stream.

func (s *clientStream) SetNoDelay(on bool) error { return s.c.setOpt(s.num, OptNoDelay, flag(on)) }

func (s *clientStream) SetKeepAlive(idle, interval time.Duration, count int) error {
	return s.c.setOpt(s.num, OptKeepAlive, int64(idle), int64(interval), int64(count))
}

func (s *clientStream) KeepAlive() (idle, interval time.Duration, count int, err error) {
	v, err := s.c.getOpt(s.num, OptKeepAlive)
	return time.Duration(v[0]), time.Duration(v[1]), clampInt(v[2]), err
}

func (s *clientStream) UserTimeout() (time.Duration, error) {
	v, err := s.c.getOpt(s.num, OptUserTimeout)
	return time.Duration(v[0]), err
}

func (s *clientStream) SetUserTimeout(d time.Duration) error {
	return s.c.setOpt(s.num, OptUserTimeout, int64(d))
}

func (s *clientStream) SetBuffers(receive, send int) error {
	return s.c.setOpt(s.num, OptBuffers, int64(receive), int64(send))
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// getOpt gets an option.
func (c *Client) getOpt(num uint32, opt Option) (v [3]int64, err error) {
	_, b, err := c.call(c.ctx, Header{Op: OpGetOpt, Sock: num, Arg: uint64(opt)}, nil)
	if err == nil && len(b) != 8*opt.values() {
		err = errValues
	}
	if err != nil {
		return v, err
	}
	for i := range opt.values() {
		v[i] = int64(native.Uint64(b[8*i:]))
	}
	return v, nil
}

func (c *Client) setOpt(num uint32, opt Option, values ...int64) error {
	var b []byte
	for _, v := range values {
		b = native.AppendUint64(b, uint64(v))
	}
	_, _, err := c.call(c.ctx, Header{Op: OpSetOpt, Sock: num, Arg: uint64(opt)}, b)
	return err
}

var (
	_ tsocket.TryStreamOps  = (*clientStream)(nil)
	_ tsocket.MonitorOps    = (*clientStream)(nil)
	_ tsocket.CloseWriteOps = (*clientStream)(nil)
	_ tsocket.AddrOps       = (*clientStream)(nil)
)

var (
	_ tsocket.TCPOps      = (*clientStream)(nil)
	_ tsocket.BufferOps   = (*clientStream)(nil)
	_ tsocket.HalfOpenOps = (*clientStream)(nil)
)
