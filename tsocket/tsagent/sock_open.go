package tsagent

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// anyAddr is the wildcard of the socket's family.
func (s *sock) anyAddr() tsocket.Addr {
	ip := netip.IPv4Unspecified()
	switch s.family {
	case unix.AF_INET6:
		ip = netip.IPv6Unspecified()
	case unix.AF_UNIX:
		return tsocket.MustAddr(tsocket.UnixAddr(""))
	}
	return tsocket.MustAddr(tsocket.AddrFrom(netip.AddrPortFrom(ip, 0)))
}

// parseOwn reads an address of the socket's family from the front of the body.
func (s *sock) parseOwn(op Op, b []byte) (tsocket.Addr, []byte, error) {
	a, rest, err := ParseAddr(b)
	if err != nil {
		return a, nil, fmt.Errorf("%v: %w", op, err)
	}
	if a.IsZero() || s.fits(a) {
		return a, rest, nil
	}
	return a, nil, &Error{syscall.EAFNOSUPPORT, fmt.Sprintf("%v %v: the socket is of family %s", op, a, familyName(s.family))}
}

func (s *sock) fits(a tsocket.Addr) bool {
	if s.family == unix.AF_UNIX {
		return a.IsUnix()
	}
	return a.IsInet(familyName(s.family))
}

// isBound reports whether a is more than a wildcard without a port: something to ask the policy about.
func isBound(a tsocket.Addr) bool {
	if a.IsUnix() {
		return a.Path() != "" || a.Abstract() != ""
	}
	return !a.IsZero() && (a.Port() != 0 || !a.IP().IsUnspecified())
}

// state is what the socket has become. s.mu is held.
func (s *sock) state() string {
	switch {
	case s.closed:
		return "closed"
	case s.slow != nil:
		return "opening"
	case s.bound != nil:
		return "bound"
	case s.connecting != nil:
		return "connecting"
	case s.stream != nil:
		return "connected"
	case s.lis != nil:
		return "listening"
	case s.dgram != nil && !s.remote.IsZero():
		return "connected"
	case s.dgram != nil:
		return "open"
	}
	return "new"
}

// isNew refuses what can be done only once, s.mu held.
func (s *sock) isNew(op Op) error {
	switch st := s.state(); st {
	case "new", "bound":
	case "closed":
		return errSockGone
	default:
		return &Error{syscall.EISCONN, fmt.Sprintf("%v: the socket is %s already", op, st)}
	}
	return nil
}

// bind gives the socket its local address, as bind(2) does.
func (s *sock) bind(r *request) error {
	local, rest, err := s.parseOwn(OpBind, r.body)
	switch {
	case err != nil:
		return err
	case local.IsZero() || len(rest) > 0:
		return invalid("bind: the body is not one address")
	}
	if isBound(local) {
		if err := s.allow(OpBind, local); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.isNew(OpBind); err != nil {
		return err
	}
	if !s.local.IsZero() {
		return invalid(fmt.Sprintf("bind: the socket is bound to %v already", s.local))
	}
	s.wanted = local
	switch {
	case s.kind == kindStream && s.family == unix.AF_UNIX:
		return s.slowly(r, func() ([]byte, error) { return s.bindUnix(local) })
	case s.kind == kindStream:
		err = s.bindTCP(OpBind, local, r.h.Flags&FlagReusePort != 0)
	case r.h.Flags&FlagExclusive != 0:
		err = s.bindUDP(OpBind, openExclusive, local, tsocket.Addr{})
	case s.family == unix.AF_UNIX:
		return s.slowly(r, func() ([]byte, error) { return s.openUnixDgram(local, tsocket.Addr{}) })
	default:
		err = s.bindUDP(OpBind, openUDP, local, tsocket.Addr{})
	}
	if err != nil {
		return err
	}
	if s.dgram != nil {
		s.local = s.dgram.LocalAddr()
	}
	r.done(s.num, 0, AppendAddr(nil, s.local))
	return nil
}

func openUDP(local, remote tsocket.Addr) (*tsocket.Dgram, error) {
	d, err := tsocket.UDP(local, remote)
	if err == nil {
		d.EnableGRO() // nothing but the speed changes
	}
	return d, err
}

// makeDgram opens a datagram socket that nobody has bound, s.mu held.
func (s *sock) makeDgram() error {
	switch {
	case s.closed:
		return errSockGone
	case s.kind != kindDgram:
		return errDgramOnly
	case s.dgram != nil:
		return nil
	case s.family == unix.AF_UNIX: // without a name, and so without a file
		return s.bindUDP(OpBind, tsocket.UnixDgram, s.anyAddr(), tsocket.Addr{})
	}
	return s.bindUDP(OpBind, openUDP, s.anyAddr(), tsocket.Addr{})
}

// names is the body that tells both addresses.
func (s *sock) names() []byte { return AppendAddr(AppendAddr(nil, s.local), s.remote) }

// getName tells the addresses of the socket.
func (s *sock) getName(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dgram != nil {
		s.local = s.dgram.LocalAddr() // the kernel chooses a port as late as with the first datagram
	}
	r.done(s.num, 0, s.names())
	return nil
}

// doConnect connects a stream, or tells a datagram socket its only peer. The body has the remote address, and perhaps
// the local one before it in place of BIND.
func (s *sock) doConnect(r *request) error {
	limit, err := r.deadline()
	if err != nil {
		return err
	}
	remote, rest, err := s.parseOwn(OpConnect, r.body)
	var local tsocket.Addr
	if err == nil && len(rest) > 0 {
		local, rest, err = s.parseOwn(OpConnect, rest)
	}
	switch {
	case err != nil:
		return err
	case remote.IsZero() || len(rest) > 0:
		return invalid("connect: the body is not an address, or two")
	}
	if isBound(local) {
		if err := s.allow(OpBind, local); err != nil {
			return err
		}
	}
	if err := s.allow(OpConnect, remote); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !local.IsZero() && !s.local.IsZero() {
		return invalid(fmt.Sprintf("connect: the socket is bound to %v already", s.local))
	}
	if s.kind == kindDgram {
		return s.connectDgram(r, local, remote)
	}
	if err := s.isNew(OpConnect); err != nil {
		return err
	}
	if local.IsZero() {
		local = s.local
	}
	if local.IsZero() {
		local = s.anyAddr()
	}
	if s.bound == nil {
		if err := s.settle(OpConnect, local); err != nil {
			return err
		}
	}
	o := r.laterWithin(s.ctx, limit)
	s.connecting = o
	credit := r.h.Arg // the request is the handler's
	if !s.a.spawn(func() { s.connected(o, local, remote, credit) }) {
		s.connecting = nil
		return errSockGone
	}
	return nil
}

// connectDgram connects a datagram socket, s.mu held.
func (s *sock) connectDgram(r *request, local, remote tsocket.Addr) (err error) {
	d := s.dgram
	if local.IsZero() {
		local = s.anyAddr()
	}
	switch {
	case s.closed:
		return errSockGone
	case !s.remote.IsZero():
		return &Error{syscall.EISCONN, fmt.Sprintf("connect: the socket is connected to %v already", s.remote)}
	case s.family == unix.AF_UNIX && d == nil:
		return s.slowly(r, func() ([]byte, error) { return s.openUnixDgram(local, remote) })
	case s.family == unix.AF_UNIX:
		return s.slowly(r, func() ([]byte, error) { return s.connectUnixDgram(d, remote) })
	case d == nil:
		err = s.bindUDP(OpConnect, openUDP, local, remote)
	default:
		err = connectFD(d, remote)
	}
	if err != nil {
		return err
	}
	s.local, s.remote = s.dgram.LocalAddr(), remote
	r.done(s.num, 0, s.names())
	return nil
}

func connectFD(d *tsocket.Dgram, remote tsocket.Addr) error {
	return d.SyscallFD(func(fd int) error {
		sa, err := remote.Sockaddr()
		if err == nil {
			err = unix.Connect(fd, sa)
		}
		return err
	})
}

// connected waits for the connection.
func (s *sock) connected(o *operation, local, remote tsocket.Addr, credit uint64) {
	s.mu.Lock()
	bound := s.bound
	s.bound = nil
	s.mu.Unlock()
	var stream *tsocket.Stream
	var err error
	switch {
	case bound != nil:
		stream, err = bound.Dial(o.ctx, remote)
	case s.family == unix.AF_UNIX:
		stream, err = tsocket.DialUnix(o.ctx, local, remote)
	default:
		stream, err = tsocket.DialTCP(o.ctx, local, remote)
	}
	s.mu.Lock()
	s.connecting = nil
	if err == nil && s.closed {
		s.mu.Unlock()
		_ = stream.Close()
		o.finish(errSockGone, 0, nil)
		return
	}
	if err != nil {
		s.unbind()
		s.mu.Unlock()
		o.finish(o.stopped(err), 0, nil)
		return
	}
	s.become(stream)
	names := s.names()
	s.mu.Unlock()
	o.finish(nil, 0, names)
	s.grant(credit)
}

// become makes the socket a connected stream, s.mu held. The end of one direction is not that of the other, and
// nothing is lost by a cancelled operation: what follows from either is up to who uses the socket.
func (s *sock) become(stream *tsocket.Stream) {
	stream.SetHalfOpen(true)
	stream.SetCancelRule(tsocket.CancelLoses)
	s.stream, s.local, s.remote = stream, stream.LocalAddr(), stream.RemoteAddr()
}

// grant is the WINDOW that came with another request.
func (s *sock) grant(credit uint64) {
	if credit == 0 {
		return
	}
	s.mu.Lock()
	if !s.closed {
		s.in.pushing = true
		s.in.credit += int64(min(credit, 1<<30))
		s.startIn((*sock).readLoop)
	}
	s.mu.Unlock()
}

// listen listens. arg: backlog, and above it the permission bits of a unix socket's file.
func (s *sock) listen(r *request) error {
	if s.kind != kindStream {
		return errStreamOnly
	}
	if r.h.Arg>>32 > 0o777 {
		return invalid(fmt.Sprintf("listen: mode %#o is more than permission bits", r.h.Arg>>32))
	}
	s.mu.Lock()
	local := s.anyAddr()
	if !s.local.IsZero() {
		local = s.wanted
	}
	s.mu.Unlock()
	if err := s.allow(OpListen, local); err != nil {
		return err
	}
	c := &tsocket.ListenConfig{
		Backlog: int(r.h.Arg & 0x7fffffff), ReusePort: r.h.Flags&FlagReusePort != 0,
		KeepPath: r.h.Flags&FlagKeepPath != 0, Mode: os.FileMode(r.h.Arg >> 32),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.isNew(OpListen); err != nil {
		return err
	}
	if s.family == unix.AF_UNIX {
		b := s.bound
		s.bound = nil
		err := s.slowly(r, func() ([]byte, error) { return s.listenUnix(b, local, c) })
		if err != nil {
			s.bound = b // and closed with the socket
		}
		return err
	}
	switch {
	case s.bound == nil:
		if err := s.bindTCP(OpListen, local, c.ReusePort); err != nil {
			return err
		}
	case c.ReusePort && !s.shares:
		return invalid("listen: REUSEPORT comes too late, BIND has to have it")
	}
	lis, err := s.bound.Listen(c)
	s.bound = nil
	if err != nil {
		s.unbind()
		return err
	}
	s.lis = lis
	r.done(s.num, 0, AppendAddr(nil, s.local))
	return nil
}

// unbind is what is left of a CONNECT or LISTEN that has failed: a socket that is new. s.mu is held.
func (s *sock) unbind() {
	s.local = tsocket.Addr{}
	s.unsettle()
}

// accept waits for the next connection; arg is the WINDOW of the new socket.
func (s *sock) accept(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lis == nil {
		return &Error{syscall.EINVAL, "accept: the socket does not listen"}
	}
	return s.beginIn(r, int(min(r.h.Arg, 1<<30)), (*sock).acceptLoop)
}

// acceptLoop accepts: for ACCEPT, or for as many as WINDOW says, each of which is told by an event.
func (s *sock) acceptLoop() {
	failures := 0
	for {
		o, want, _, ok := s.nextIn()
		if !ok {
			s.quitIn(errSockGone)
			return
		}
		ctx := s.ctx
		if o != nil {
			ctx = o.ctx
		}
		ns, err := s.acceptOne(ctx)
		if o != nil {
			if err != nil {
				s.endIn(o, o.stopped(err), 0, nil)
				continue
			}
			ns.mu.Lock()
			names := ns.names()
			ns.mu.Unlock()
			o.sock = ns.num
			s.endIn(o, nil, 0, names)
			ns.grant(uint64(want))
			continue
		}
		if s.ctx.Err() != nil {
			if ns != nil {
				ns.close()
			}
			continue
		}
		s.mu.Lock()
		s.in.credit--
		s.mu.Unlock()
		if ns != nil && !s.adopt(ns) {
			ns.close()
			continue
		}
		s.tellAccepted(ns, err)
		if failures++; err == nil {
			failures = 0
		}
		s.pauseAfter(failures)
	}
}

// pauseAfter waits a little after failures in a row, and then longer: what was wrong, that there are too many sockets for instance, is
// so for a while, and the connection goes on to wait.
func (s *sock) pauseAfter(failures int) {
	if failures == 0 {
		return
	}
	t := time.NewTimer(min(5*time.Millisecond<<min(failures-1, 10), time.Second))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// acceptOne accepts a connection as a new socket of the same owner. The place for it is taken before, so that a
// connection for which there is none goes on to wait.
func (s *sock) acceptOne(ctx context.Context) (*sock, error) {
	ns, err := s.a.newSock(connectorFrom(s.own), s.own.sinks, s.family, kindStream, true)
	if err != nil {
		return nil, err
	}
	stream, err := s.lis.Accept(ctx)
	if err != nil {
		ns.close()
		return nil, err
	}
	ns.mu.Lock()
	closed := ns.closed
	if !closed {
		ns.become(stream)
	}
	ns.mu.Unlock()
	s.a.mu.Lock()
	ns.fill()
	s.a.mu.Unlock()
	s.a.stats.opened.Add(1)
	if closed {
		_ = stream.Close()
		return nil, errSockGone
	}
	return ns, nil
}

// tellAccepted sends EvAccepted: arg is the number of the new socket, or 0 and the body has the error.
func (s *sock) tellAccepted(ns *sock, err error) {
	m := headroom(256)
	if err != nil {
		s.event(Header{Op: EvAccepted}, appendErrno(m, err))
		return
	}
	ns.mu.Lock()
	m = append(native.AppendUint32(m, 0), ns.names()...)
	ns.mu.Unlock()
	s.event(Header{Op: EvAccepted, Arg: uint64(ns.num)}, m)
}
