package tsocket

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// AddrFrom returns the address of ap. A zone that is neither a number nor the
// name of an interface of this machine is EINVAL, and so is an ap that is not valid.
func AddrFrom(ap netip.AddrPort) (Addr, error) {
	scope, ok := scopeOf(ap.Addr().Zone())
	if !ok || !ap.IsValid() {
		return Addr{}, badAddr(ap.String())
	}
	return Addr{kind: addrInet, ip: ap.Addr().WithZone(""), scope: scope, port: ap.Port()}, nil
}

// AddrPort returns the IP address and port, the zero AddrPort for another
// kind. The scope becomes a decimal zone.
func (a Addr) AddrPort() netip.AddrPort {
	if a.kind != addrInet {
		return netip.AddrPort{}
	}
	ip := a.ip
	if a.scope != 0 {
		ip = ip.WithZone(strconv.FormatUint(uint64(a.scope), 10))
	}
	return netip.AddrPortFrom(ip, a.port)
}

// AddrFromNet returns the address of a, which is a *net.UDPAddr, *net.TCPAddr,
// *net.IPAddr or *net.UnixAddr, or one of another type whose String is an
// ip:port; nil is the zero Addr. EAFNOSUPPORT for others. IPv4 addresses that net keeps in 16
// bytes become IPv4 again.
func AddrFromNet(a net.Addr) (Addr, error) {
	switch a := a.(type) {
	case nil:
		return Addr{}, nil
	case *net.UnixAddr:
		if a == nil {
			return Addr{}, nil
		}
		if name, ok := strings.CutPrefix(a.Name, "@"); ok && name != "" {
			return AbstractAddr(name)
		}
		return UnixAddr(a.Name)
	case *net.UDPAddr:
		return fromNetIP(a.IP, a.Zone, a.Port)
	case *net.TCPAddr:
		return fromNetIP(a.IP, a.Zone, a.Port)
	case *net.IPAddr:
		return fromNetIP(a.IP, a.Zone, 0)
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return Addr{}, &OpError{Op: "address of " + a.Network(), Err: syscall.EAFNOSUPPORT}
	}
	return AddrFrom(ap)
}

func fromNetIP(b net.IP, zone string, port int) (Addr, error) {
	ip := netip.IPv6Unspecified()
	if len(b) > 0 {
		var ok bool
		if ip, ok = netip.AddrFromSlice(b); !ok {
			return Addr{}, badAddr(b.String())
		}
	}
	if port < 0 || port > 65535 {
		return Addr{}, badAddr(strconv.Itoa(port))
	}
	if zone == "" {
		ip = ip.Unmap()
	}
	return AddrFrom(netip.AddrPortFrom(ip.WithZone(zone), uint16(port)))
}

// NetAddr returns the address as package net has it for that network: "tcp",
// "udp", "ip", "unix", "unixgram", ... nil where the two do not go together.
func (a Addr) NetAddr(network string) net.Addr {
	ap := a.AddrPort()
	switch {
	case a.kind == addrUnix && strings.HasPrefix(network, "unix"):
		return &net.UnixAddr{Net: network, Name: a.path}
	case a.kind == addrAbstract && strings.HasPrefix(network, "unix"):
		return &net.UnixAddr{Net: network, Name: "@" + a.path}
	case a.kind != addrInet:
	case strings.HasPrefix(network, "tcp"):
		return net.TCPAddrFromAddrPort(ap)
	case strings.HasPrefix(network, "udp"):
		return net.UDPAddrFromAddrPort(ap)
	case strings.HasPrefix(network, "ip"):
		return &net.IPAddr{IP: ap.Addr().AsSlice(), Zone: ap.Addr().Zone()}
	}
	return nil
}

// AddrFromSockaddr returns the address of sa. nil is the zero Addr;
// EAFNOSUPPORT for a family other than inet, inet6 and unix.
func AddrFromSockaddr(sa unix.Sockaddr) (Addr, error) {
	switch sa := sa.(type) {
	case nil:
		return Addr{}, nil
	case *unix.SockaddrInet4:
		return Addr{kind: addrInet, ip: netip.AddrFrom4(sa.Addr), port: uint16(sa.Port)}, nil
	case *unix.SockaddrInet6:
		return Addr{kind: addrInet, ip: netip.AddrFrom16(sa.Addr), scope: sa.ZoneId, port: uint16(sa.Port)}, nil
	case *unix.SockaddrUnix:
		if name, ok := strings.CutPrefix(sa.Name, "@"); ok && name != "" {
			return AbstractAddr(name)
		}
		return UnixAddr(sa.Name)
	}
	return Addr{}, &OpError{Op: "address of a sockaddr", Err: syscall.EAFNOSUPPORT}
}

// Sockaddr returns a as a unix.Sockaddr; EINVAL for the zero Addr. Package unix
// takes an "@" in front for an abstract name: a path that begins with one gets a "./".
func (a Addr) Sockaddr() (unix.Sockaddr, error) {
	switch {
	case a.is4():
		return &unix.SockaddrInet4{Addr: a.ip.As4(), Port: int(a.port)}, nil
	case a.kind == addrInet:
		return &unix.SockaddrInet6{Addr: a.ip.As16(), ZoneId: a.scope, Port: int(a.port)}, nil
	case a.kind == addrUnix && strings.HasPrefix(a.path, "@"):
		return &unix.SockaddrUnix{Name: "./" + a.path}, nil
	case a.kind == addrUnix:
		return &unix.SockaddrUnix{Name: a.path}, nil
	case a.kind == addrAbstract:
		return &unix.SockaddrUnix{Name: "@" + a.path}, nil
	}
	return nil, &OpError{Op: "sockaddr", Err: ErrInvalid}
}
