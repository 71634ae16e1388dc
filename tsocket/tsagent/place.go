package tsagent

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// The kernel lets sockets of one user share a port, some by SO_REUSEADDR, some by SO_REUSEPORT. To the kernel all of the agent's are
// its own, so that it has to see by itself that users do not take each other's.

// portKey is a port of a kind of socket. IPv6 sockets are for IPv6 only.
type portKey struct {
	kind, family int
	port         uint16
}

// place is where a socket is bound.
type place struct {
	ip netip.Addr
	s  *sock
}

// settle has the socket stand at a local address, which it is about to be bound to; EADDRINUSE where it would share the port with
// another user. A port that the kernel is to choose is nobody's yet.
func (s *sock) settle(op Op, local tsocket.Addr) error {
	if local.IsZero() || local.IsUnix() || local.Port() == 0 {
		return nil
	}
	a, key, ip := s.a, portKey{s.kind, s.family, local.Port()}, local.IP().WithZone("")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.places[key] {
		if p.s != s && p.s.own.cred.UID != s.own.cred.UID && (p.ip == ip || p.ip.IsUnspecified() || ip.IsUnspecified()) {
			return &Error{syscall.EADDRINUSE, fmt.Sprintf("%v %v: the port is in use by another user", op, local)}
		}
	}
	s.leave()
	a.places[key] = append(a.places[key], place{ip, s})
	s.at = key
	return nil
}

// unsettle gives the place back.
func (s *sock) unsettle() {
	s.a.mu.Lock()
	s.leave()
	s.a.mu.Unlock()
}

// leave is unsettle with a.mu held.
func (s *sock) leave() {
	if s.at.port == 0 {
		return
	}
	left := slices.DeleteFunc(s.a.places[s.at], func(p place) bool { return p.s == s })
	if len(left) == 0 {
		delete(s.a.places, s.at)
	} else {
		s.a.places[s.at] = left
	}
	s.at = portKey{}
}

// bindTCP binds the socket to an inet address, s.mu held.
func (s *sock) bindTCP(op Op, local tsocket.Addr, reusePort bool) error {
	if err := s.settle(op, local); err != nil {
		return err
	}
	b, err := tsocket.BindTCP(local, reusePort)
	if err == nil {
		if err = s.settle(op, b.Addr()); err != nil {
			_ = b.Close()
		}
	}
	if err != nil {
		s.unsettle()
		return err
	}
	s.bound, s.shares, s.local = b, reusePort, b.Addr()
	return nil
}

// bindUDP opens a UDP socket, s.mu held.
func (s *sock) bindUDP(op Op, open func(local, remote tsocket.Addr) (*tsocket.Dgram, error), local, remote tsocket.Addr) error {
	if s.closed {
		return errSockGone
	}
	if err := s.settle(op, local); err != nil {
		return err
	}
	d, err := open(local, remote)
	if err != nil {
		s.unsettle()
		return err
	}
	s.dgram = d
	return nil
}
