package rxrpc

import (
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// checkAddr refuses addresses that the transport does not have.
func (s *Socket) checkAddr(op string, a Addr) error {
	ip := a.Addr.Addr()
	if !ip.IsValid() || s.family == Inet && !ip.Unmap().Is4() {
		return sockErr(op, syscall.EAFNOSUPPORT, "address "+a.String())
	}
	return nil
}

// Bind gives the socket a local address: service 0 makes it a client's, another one a server's. Sockets that know nothing of
// each other may have one UDP port, if they serve different services. A server may bind a second service at the
// same address, before Listen (see Upgradeable). Port 0 takes a free one.
//
// Errors: EAFNOSUPPORT; EADDRINUSE if the service, or the port, is taken; EINVAL for a socket that is bound, for service 0 or another
// address the second time; and those of the UDP socket.
func (s *Socket) Bind(a Addr) error {
	if err := s.checkAddr("bind", a); err != nil {
		return err
	}
	a.Addr = netip.AddrPortFrom(a.Addr.Addr().Unmap(), a.Addr.Port())
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return &SocketError{Op: "bind", Err: errSocketClosed}
	}
	var err error
	switch s.state {
	case unbound:
		err = s.bindFirst(a)
	case serverBound:
		switch {
		case a.Service == 0:
			err = sockErr("bind", syscall.EINVAL, "service 0 of a server")
		case a.Addr != s.local && a.Addr != s.e.local:
			err = sockErr("bind", syscall.EINVAL, "second address "+a.Addr.String())
		case a.Service == s.bound[0]:
			err = sockErr("bind", syscall.EADDRINUSE, "service "+strconv.Itoa(int(a.Service)))
		default:
			s.state, s.bound = serverBound2, append(s.bound, a.Service)
		}
	default:
		err = sockErr("bind", syscall.EINVAL, "bound already, or connected")
	}
	e := s.e
	s.mu.Unlock()
	if err != nil || a.Service == 0 {
		return err
	}
	if err = s.reserve(e, a.Service); err == nil {
		return nil
	}
	// Back to where it was.
	s.mu.Lock()
	s.bound = s.bound[:len(s.bound)-1]
	first := len(s.bound) == 0 && !s.closed
	if s.state = serverBound; first {
		s.state, s.e, s.local = unbound, nil, netip.AddrPort{}
	}
	s.mu.Unlock()
	if first {
		_ = e.Close()
	}
	return err
}

// bindFirst opens the endpoint; s.mu is held.
func (s *Socket) bindFirst(a Addr) error {
	open := s.cfg.Pool.Shared
	if (a.Service != 0 || s.cfg.OwnPort) && a.Addr.Port() == 0 {
		open = s.cfg.Pool.fresh
	}
	e, err := open(a.Addr, s.cfg.Endpoint)
	if err != nil {
		return &SocketError{Op: "bind", Err: err}
	}
	s.e, s.local = e, a.Addr
	if s.state = clientBound; a.Service != 0 {
		s.state, s.bound = serverBound, []uint16{a.Service}
	}
	return nil
}

// reserve takes a service, which refuses calls as long as nobody listens.
func (s *Socket) reserve(e *Endpoint, service uint16) error {
	var err error
	e.do(func(now proto.Time) {
		var svc *proto.Service
		if svc, err = e.p.Listen(now, proto.ServiceParams{IDs: []wire.ServiceID{wire.ServiceID(service)}}); err == nil {
			svc.Refuse(true)
			s.services = append(s.services, svc)
		}
	})
	if err != nil {
		errno := syscall.EADDRINUSE
		if !errors.Is(err, proto.ErrInUse) {
			errno = syscall.EINVAL
		}
		return sockErr("bind", errno, "service "+strconv.Itoa(int(service)))
	}
	return nil
}

// autoBind gives an unbound socket the port that all such sockets of the process have; s.mu is held.
func (s *Socket) autoBind() error {
	if s.state != unbound && s.state != clientUnbound {
		return nil
	}
	any := netip.IPv4Unspecified()
	if s.family == Inet6 {
		any = netip.IPv6Unspecified()
	}
	return s.bindFirst(Addr{Addr: netip.AddrPortFrom(any, 0)})
}

// Settle opens what a call to an address leaves from, or, without one, a call to where Connect says, unless the socket has it: the first call would. Errors are those that the call would have.
func (s *Socket) Settle(to Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !to.Addr.IsValid() {
		to = s.peer
	}
	if s.closed || s.shut || !to.Addr.IsValid() {
		return nil // there will be no call
	}
	err := s.autoBind()
	if err == nil {
		_, err = s.endpointFor(to.Addr)
	}
	return err
}

// Settled reports whether there is nothing left for Settle to do: Submit of a message to that address opens no endpoint, which might take a while.
func (s *Socket) Settled(to Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !to.Addr.IsValid() {
		to = s.peer
	}
	switch {
	case s.e == nil:
		return false
	case !to.Addr.IsValid() || s.other != nil:
		return true
	}
	return to.Addr.Addr().Unmap().Is4() == s.local.Addr().Is4() || !s.local.Addr().IsUnspecified()
}

// endpointFor returns the endpoint that reaches a peer; s.mu is held.
func (s *Socket) endpointFor(peer netip.AddrPort) (*Endpoint, error) {
	four := peer.Addr().Unmap().Is4()
	switch {
	case four == s.local.Addr().Is4():
		return s.e, nil
	case !four || !s.local.Addr().IsUnspecified():
		return nil, sockErr("sendmsg", syscall.ENETUNREACH, "from "+s.local.Addr().String()+" to "+peer.Addr().String())
	case s.other == nil:
		e, err := s.cfg.Pool.Shared(netip.AddrPortFrom(netip.IPv4Unspecified(), s.local.Port()), s.cfg.Endpoint)
		if err != nil {
			return nil, &SocketError{Op: "sendmsg", Err: err}
		}
		s.other = e
	}
	return s.other, nil
}

// Connect sets where calls go whose first message has no address. Errors: EISCONN the second time, EBUSY for a
// server's socket, EAFNOSUPPORT.
func (s *Socket) Connect(a Addr) error {
	if err := s.checkAddr("connect", a); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return &SocketError{Op: "connect", Err: errSocketClosed}
	case s.peer.Addr.IsValid():
		return sockErr("connect", syscall.EISCONN, "connected to "+s.peer.String())
	case s.state.server():
		return sockErr("connect", syscall.EBUSY, "a server's socket")
	case s.state == unbound:
		s.state = clientUnbound
	}
	s.peer = a
	return nil
}

// Listen makes a server's socket take calls, at most backlog that wait. There are two ways:
//
// As AF_RXRPC was at first: for each call a message RXRPC_NEW_CALL is received, without a tag; Sendmsg of RXRPC_ACCEPT
// gives the first call that waits its tag, Reject refuses it. As it is today: tags are given beforehand, by Sendmsg
// of RXRPC_CHARGE_ACCEPT, and calls that come take them in turn; without any left they are told BUSY. A socket is of
// today from its first RXRPC_CHARGE_ACCEPT on.
//
// 0 ends it: charges and calls that wait are discarded, those in progress go on. math.MaxInt32 is
// SocketConfig.MaxBacklog.
//
// Errors: EADDRNOTAVAIL for an unbound socket, EBUSY for a client's or one that listens, EINVAL for a backlog that is
// negative or too long.
func (s *Socket) Listen(backlog int) error {
	s.mu.Lock()
	st, closed := s.state, s.closed
	if backlog == math.MaxInt32 {
		backlog = s.cfg.MaxBacklog
	}
	var err error
	switch {
	case closed:
		err = &SocketError{Op: "listen", Err: errSocketClosed}
	case st == unbound:
		err = sockErr("listen", syscall.EADDRNOTAVAIL, "not bound")
	case st == serverListening && backlog == 0:
		s.state, s.charges = listenDisabled, 0
	case st != serverBound && st != serverBound2:
		err = sockErr("listen", syscall.EBUSY, "not a server's socket, or listening")
	case backlog < 0 || backlog > s.cfg.MaxBacklog:
		err = sockErr("listen", syscall.EINVAL, "backlog "+strconv.Itoa(backlog))
	case backlog == 0:
		s.state = listenDisabled
	default:
		s.state, s.backlog = serverListening, backlog
	}
	e, ring, level, up, bound := s.e, s.ring, s.level, s.up, slices.Clone(s.bound)
	s.mu.Unlock()
	switch {
	case err != nil:
		return err
	case backlog == 0:
		e.do(s.discardBacklog)
		return nil
	}
	p := proto.ServiceParams{Accept: proto.AcceptManual, Backlog: backlog, UpgradeFrom: wire.ServiceID(up[0]), UpgradeTo: wire.ServiceID(up[1])}
	if s.cfg.AutoAccept {
		p.Accept = proto.AcceptAuto
	}
	p.Secured = s.cfg.Secured
	if ring != nil {
		p.Security = ring.Classes(level)
	}
	for _, id := range bound {
		p.IDs = append(p.IDs, wire.ServiceID(id))
	}
	e.do(func(now proto.Time) {
		for _, svc := range s.services {
			svc.Close(now, false)
		}
		var svc *proto.Service
		if svc, err = e.p.Listen(now, p); err != nil {
			return // the endpoint is closed
		}
		s.services = []*proto.Service{svc}
		for _, id := range p.IDs {
			e.acceptors[id] = acceptor{service: svc, accept: s.arrived}
		}
	})
	if err != nil {
		return &SocketError{Op: "listen", Err: err}
	}
	return nil
}

// discardBacklog ends listening; the owner calls it.
func (s *Socket) discardBacklog(now proto.Time) {
	for _, svc := range s.services {
		svc.Refuse(true)
		svc.Uncharge(func(tag any) { s.discard(tag.(*sockCall)) })
	}
	s.mu.Lock()
	pending := s.pending
	s.pending = nil
	for _, x := range pending {
		s.release(x)
	}
	s.rx.open()
	s.mu.Unlock()
	for _, x := range pending {
		if x.pc != nil {
			_ = x.pc.Reject(now, wire.InvalidOperation)
			x.pc = nil
		}
	}
}

func (s *Socket) discard(x *sockCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(x)
}

// Getsockname returns the local address, with the first service. That of an unbound socket is unspecified.
func (s *Socket) Getsockname() Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var a Addr
	if s.e != nil {
		a.Addr = s.e.local
	}
	if len(s.bound) > 0 {
		a.Service = s.bound[0]
	}
	return a
}

// Getpeername returns where the socket is connected to; false if it is not.
func (s *Socket) Getpeername() (Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer, s.peer.Addr.IsValid()
}

// Ways of shutting down, for Shutdown.
const (
	ShutRD   = 0
	ShutWR   = 1
	ShutRDWR = 2
)

// Shutdown ends sending (EPIPE) and listening. What has arrived, and the ends of calls, can still be received. Errors: EOPNOTSUPP for
// anything but ShutRDWR, ESHUTDOWN the second time.
func (s *Socket) Shutdown(how int) error {
	if how != ShutRDWR {
		return sockErr("shutdown", syscall.EOPNOTSUPP, "one direction")
	}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return &SocketError{Op: "shutdown", Err: errSocketClosed}
	case s.shut:
		s.mu.Unlock()
		return sockErr("shutdown", syscall.ESHUTDOWN, "done already")
	}
	s.shut = true
	listening := s.state == serverListening
	if listening {
		s.state = listenDisabled
	}
	e := s.e
	s.wakeAll()
	s.mu.Unlock()
	if listening {
		e.do(s.discardBacklog)
	}
	return nil
}

// wakeAll has everybody who waits look again; s.mu is held.
func (s *Socket) wakeAll() {
	s.rx.open()
	for _, x := range s.calls {
		x.tx.open()
	}
}

// Close ends the calls of the socket by RX_CALL_DEAD, but for replies that have been sent to their end: those go on by
// themselves. Whoever waits gets EBADF. It is idempotent.
func (s *Socket) Close() error {
	s.mu.Lock()
	for _, x := range s.calls {
		if len(x.subs) > 0 { // what was submitted, and has room, is sent
			e := x.e
			s.mu.Unlock()
			e.do(func(proto.Time) {})
			s.mu.Lock()
			break
		}
	}
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	calls := s.pending
	for _, x := range s.calls {
		calls = append(calls, x)
	}
	s.wakeAll()
	for _, x := range calls {
		s.release(x)
	}
	s.pending, s.rxq = nil, nil
	e, other := s.e, s.other
	s.mu.Unlock()
	if e == nil {
		return nil
	}
	e.do(func(now proto.Time) {
		for _, x := range calls {
			if x.e == e {
				x.end(now)
				x.failAll((&SocketError{Op: "sendmsg", Err: errSocketClosed}).of(x.id))
			}
		}
		for _, svc := range s.services {
			for id, a := range e.acceptors {
				if a.service == svc {
					delete(e.acceptors, id)
				}
			}
			svc.Uncharge(nil)
			svc.Close(now, true)
		}
	})
	if other != nil {
		other.do(func(now proto.Time) {
			for _, x := range calls {
				if x.e == other {
					x.end(now)
					x.failAll((&SocketError{Op: "sendmsg", Err: errSocketClosed}).of(x.id))
				}
			}
		})
		_ = other.Close()
	}
	return e.Close()
}
