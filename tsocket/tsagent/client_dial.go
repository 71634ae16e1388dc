package tsagent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// familyOf returns the family of a socket with these addresses, by the rules of package tsocket: that of the remote address
// where the local one is the wildcard without a port; otherwise both must be of one family.
func familyOf(local, remote tsocket.Addr) (int, error) {
	if local.IsUnix() || remote.IsUnix() {
		if !local.IsZero() && !local.IsUnix() || !remote.IsZero() && !remote.IsUnix() {
			return 0, tsocket.ErrInvalid
		}
		return unix.AF_UNIX, nil
	}
	by := local
	if !remote.IsZero() {
		if !isBound(local) {
			by = remote
		} else if local.IsInet("ipv4") != remote.IsInet("ipv4") {
			return 0, tsocket.ErrInvalid
		}
	}
	switch {
	case by.IsInet("ipv4"):
		return unix.AF_INET, nil
	case by.IsInet("ipv6"):
		return unix.AF_INET6, nil
	}
	return 0, tsocket.ErrInvalid
}

func opError(ctx context.Context, op string, addr tsocket.Addr, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		err = tsocket.ErrTimeout
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		err = tsocket.ErrCanceled
	}
	return &tsocket.OpError{Op: op, Addr: addr, Err: err}
}

// DialTCP is tsocket.DialTCP by the agent; EACCES if its policy forbids it.
func (c *Client) DialTCP(ctx context.Context, local, remote tsocket.Addr) (*tsocket.Stream, error) {
	if !remote.IsInet("ip") || !local.IsZero() && !local.IsInet("ip") {
		return nil, opError(ctx, "connect", remote, tsocket.ErrInvalid)
	}
	return c.dial(ctx, local, remote)
}

// DialUnix is tsocket.DialUnix by the agent.
func (c *Client) DialUnix(ctx context.Context, local, remote tsocket.Addr) (*tsocket.Stream, error) {
	if !remote.IsUnix() || !local.IsZero() && !local.IsUnix() {
		return nil, opError(ctx, "connect", remote, tsocket.ErrInvalid)
	}
	return c.dial(ctx, local, remote)
}

func (c *Client) dial(ctx context.Context, local, remote tsocket.Addr) (*tsocket.Stream, error) {
	family, err := familyOf(local, remote)
	if err != nil {
		return nil, opError(ctx, "connect", remote, err)
	}
	var s *clientStream
	err = c.open(ctx, family, kindStream, func(num uint32, window int) client {
		s = newClientStream(c, num, window)
		return s
	})
	if err != nil {
		return nil, opError(ctx, "connect", remote, err)
	}
	body := AppendAddr(nil, remote)
	if isBound(local) {
		body = AppendAddr(body, local)
	}
	_, names, err := c.call(ctx, Header{Op: OpConnect, Sock: s.num, Arg: uint64(c.cfg.Window)}, body)
	if err == nil {
		err = s.setNames(names)
	}
	if err != nil {
		_ = s.Close()
		return nil, opError(ctx, "connect", remote, err)
	}
	return tsocket.NewStream(s), nil
}

// setNames takes the two addresses of a completion.
func (s *clientStream) setNames(b []byte) error {
	local, remote, err := parseNames(b)
	s.mu.Lock()
	s.local, s.remote = local, remote
	s.mu.Unlock()
	return err
}

func parseNames(b []byte) (local, remote tsocket.Addr, err error) {
	if local, b, err = ParseAddr(b); err == nil {
		remote, _, err = ParseAddr(b)
	}
	return local, remote, err
}

// UDP is tsocket.UDP by the agent.
func (c *Client) UDP(ctx context.Context, local, remote tsocket.Addr) (*tsocket.Dgram, error) {
	if !local.IsInet("ip") || !remote.IsZero() && !remote.IsInet("ip") {
		return nil, opError(ctx, "udp socket", local, tsocket.ErrInvalid)
	}
	return c.dgram(ctx, local, remote, 0)
}

// ExclusiveUDP is UDP for a server: the socket is bound at once, also where local is the wildcard without a port, and to a port
// that nobody else can be bound to: EADDRINUSE if somebody is.
func (c *Client) ExclusiveUDP(ctx context.Context, local tsocket.Addr) (*tsocket.Dgram, error) {
	if !local.IsInet("ip") {
		return nil, opError(ctx, "udp socket", local, tsocket.ErrInvalid)
	}
	return c.dgram(ctx, local, tsocket.Addr{}, FlagExclusive)
}

// UDPBroadcast is tsocket.UDPBroadcast by the agent, whose policy is asked about broadcasts.
func (c *Client) UDPBroadcast(ctx context.Context, local tsocket.Addr) (*tsocket.Dgram, error) {
	if !local.IsInet("ipv4") {
		return nil, opError(ctx, "udp socket", local, tsocket.ErrInvalid)
	}
	d, err := c.dgram(ctx, local, tsocket.Addr{}, 0)
	if err != nil {
		return nil, err
	}
	if err := c.setOpt(d.Ops().(*clientDgram).num, OptBroadcast, 1); err != nil {
		_ = d.Close()
		return nil, opError(ctx, "socket option", local, err)
	}
	return d, nil
}

// UnixDgram is tsocket.UnixDgram by the agent.
func (c *Client) UnixDgram(ctx context.Context, local, remote tsocket.Addr) (*tsocket.Dgram, error) {
	if local.IsZero() {
		local = tsocket.MustAddr(tsocket.UnixAddr(""))
	}
	if !local.IsUnix() || !remote.IsZero() && !remote.IsUnix() {
		return nil, opError(ctx, "unix socket", local, tsocket.ErrInvalid)
	}
	return c.dgram(ctx, local, remote, 0)
}

// dgram opens a datagram socket; bind are the flags of its BIND.
func (c *Client) dgram(ctx context.Context, local, remote tsocket.Addr, bind uint16) (*tsocket.Dgram, error) {
	family, err := familyOf(local, remote)
	if err != nil {
		return nil, opError(ctx, "bind", local, err)
	}
	var s *clientDgram
	err = c.open(ctx, family, kindDgram, func(num uint32, window int) client {
		s = newClientDgram(c, num, window)
		return s
	})
	if err != nil {
		return nil, opError(ctx, "bind", local, err)
	}
	op, addr := "bind", local
	if isBound(local) || bind != 0 {
		var b []byte
		if _, b, err = c.call(ctx, Header{Op: OpBind, Flags: bind, Sock: s.num}, AppendAddr(nil, local)); err == nil {
			local, _, err = ParseAddr(b)
		}
	} else if remote.IsZero() && family != unix.AF_UNIX {
		local = tsocket.MustAddr(tsocket.AddrFrom(netip.AddrPortFrom(local.IP(), 0)))
	}
	if err == nil && !remote.IsZero() {
		var names []byte
		op, addr = "connect", remote
		if _, names, err = c.call(ctx, Header{Op: OpConnect, Sock: s.num}, AppendAddr(nil, remote)); err == nil {
			local, _, err = parseNames(names)
		}
	}
	s.local, s.remote = local, remote
	if err == nil {
		_, _, err = c.call(ctx, Header{Op: OpWindow, Sock: s.num, Arg: uint64(c.cfg.Window)}, nil)
	}
	if err != nil {
		_ = s.Close()
		return nil, opError(ctx, op, addr, err)
	}
	return tsocket.NewDgram(s), nil
}

// Listener accepts streams, as tsocket.Listener does: one accept may be outstanding at a time.
type Listener struct {
	c     *Client
	num   uint32
	local tsocket.Addr
	busy  chan struct{} // of one: held by who accepts

	mu      sync.Mutex // guards the fields below
	seq     uint32
	asked   int // connections that the agent may send
	queue   []accepted
	err     error
	closed  bool
	arrived chan struct{}
}

// accepted is a connection, or why there is none.
type accepted struct {
	s   *clientStream
	err error
}

// ListenTCP is tsocket.ListenTCP by the agent.
func (c *Client) ListenTCP(ctx context.Context, local tsocket.Addr, config *tsocket.ListenConfig) (*Listener, error) {
	if !local.IsInet("ip") {
		return nil, opError(ctx, "listen", local, tsocket.ErrInvalid)
	}
	return c.listen(ctx, local, config)
}

// ListenUnix is tsocket.ListenUnix by the agent.
func (c *Client) ListenUnix(ctx context.Context, local tsocket.Addr, config *tsocket.ListenConfig) (*Listener, error) {
	if !local.IsUnix() || !isBound(local) {
		return nil, opError(ctx, "listen", local, tsocket.ErrInvalid)
	}
	return c.listen(ctx, local, config)
}

func (c *Client) listen(ctx context.Context, local tsocket.Addr, config *tsocket.ListenConfig) (*Listener, error) {
	if config == nil {
		config = &tsocket.ListenConfig{}
	}
	family, err := familyOf(local, tsocket.Addr{})
	if err != nil {
		return nil, opError(ctx, "listen", local, err)
	}
	l := &Listener{c: c, arrived: make(chan struct{}, 1), busy: make(chan struct{}, 1)}
	err = c.open(ctx, family, kindStream, func(num uint32, _ int) client {
		l.num = num
		return l
	})
	if err != nil {
		return nil, opError(ctx, "listen", local, err)
	}
	h := Header{Op: OpListen, Sock: l.num, Arg: uint64(max(config.Backlog, 0)&0x7fffffff) | uint64(config.Mode.Perm())<<32}
	if config.KeepPath {
		h.Flags |= FlagKeepPath
	}
	bind := Header{Op: OpBind, Sock: l.num}
	if config.ReusePort {
		bind.Flags |= FlagReusePort
	}
	_, _, err = c.call(ctx, bind, AppendAddr(nil, local))
	var b []byte
	if err == nil {
		_, b, err = c.call(ctx, h, nil)
	}
	if err == nil {
		l.local, _, err = ParseAddr(b)
	}
	if err != nil {
		_ = l.Close()
		return nil, opError(ctx, "listen", local, err)
	}
	return l, nil
}

// Addr returns the address that the listener is bound to.
func (l *Listener) Addr() tsocket.Addr { return l.local }

func (l *Listener) event(h Header, seq uint32, body []byte) {
	l.mu.Lock()
	defer wake(l.arrived)
	defer l.mu.Unlock()
	l.seq++
	switch {
	case l.closed || l.err != nil:
	case seq != l.seq:
		l.err = &Error{syscall.EIO, "events of the socket were lost"}
	case h.Op == EvError:
		if l.err, _ = parseErrno(body); l.err == nil {
			l.err = ErrDown
		}
	case h.Op == EvAccepted:
		l.asked--
		l.queue = append(l.queue, l.accepted(h, body))
	}
}

// accepted makes a stream of what was accepted; its events find it from now on.
func (l *Listener) accepted(h Header, body []byte) accepted {
	why, err := parseErrno(body[:min(4, len(body))])
	switch {
	case err != nil:
		return accepted{err: err}
	case why != nil:
		why, _ = parseErrno(body)
		return accepted{err: why}
	}
	l.c.mu.Lock()
	window := l.c.window
	l.c.mu.Unlock()
	s := newClientStream(l.c, uint32(h.Arg), window)
	if err := s.setNames(body[4:]); err != nil {
		return accepted{err: err}
	}
	l.c.mu.Lock()
	l.c.socks[s.num] = s
	l.c.mu.Unlock()
	return accepted{s: s}
}

func (l *Listener) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	wake(l.arrived)
}

// Accept waits for the next stream. The OpError's Err is ErrBusy, ErrClosed, ErrCanceled, ErrTimeout of package tsocket, or
// what the agent says: EMFILE if there are as many sockets as there may be, while the connection goes on to wait. Whether ctx
// ends or not, no connection is lost.
func (l *Listener) Accept(ctx context.Context) (*tsocket.Stream, error) {
	select {
	case l.busy <- struct{}{}:
	default:
		return nil, l.opError(ctx, tsocket.ErrBusy)
	}
	defer func() { <-l.busy }()
	for {
		if err := ctx.Err(); err != nil {
			return nil, l.opError(ctx, err)
		}
		a, ask, err := l.next()
		switch {
		case err != nil:
			return nil, l.opError(ctx, err)
		case a.err != nil:
			return nil, l.opError(ctx, a.err)
		case a.s != nil:
			// From now on it may be sent something.
			if err := l.c.postHeader(Header{Op: OpWindow, Sock: a.s.num, Arg: uint64(l.c.cfg.Window)}); err != nil {
				return nil, l.opError(ctx, err)
			}
			return tsocket.NewStream(a.s), nil
		}
		if ask {
			if err := l.c.postHeader(Header{Op: OpWindow, Sock: l.num, Arg: 1}); err != nil {
				return nil, l.opError(ctx, err)
			}
		}
		select {
		case <-l.arrived:
		case <-ctx.Done():
		}
	}
}

// next returns what was accepted; ask says that the agent is to be asked for more.
func (l *Listener) next() (a accepted, ask bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return a, false, tsocket.ErrClosed
	case len(l.queue) > 0:
		a = l.queue[0]
		l.queue = l.queue[1:]
		return a, false, nil
	case l.err != nil:
		return a, false, l.err
	}
	if ask = l.asked == 0; ask {
		l.asked = 1
	}
	return a, ask, nil
}

func (l *Listener) opError(ctx context.Context, err error) error {
	return opError(ctx, "accept", l.local, err)
}

// Close stops listening. An outstanding accept fails with ErrClosed, and so do those who connected and were not
// accepted.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	left, lost := l.queue, l.err
	l.queue = nil
	l.mu.Unlock()
	wake(l.arrived)
	for _, a := range left {
		if a.s != nil {
			_ = a.s.Close()
		}
	}
	l.c.remove(l.num, l)
	if lost == nil {
		// A connection that was accepted just now arrives for a socket that nobody knows.
		if _, _, err := l.c.call(l.c.ctx, Header{Op: OpClose, Sock: l.num}, nil); err != nil && !errors.Is(err, ErrDown) {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}
