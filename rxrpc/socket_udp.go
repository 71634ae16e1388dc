package rxrpc

import (
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// openUDP makes the socket. Unlike tsocket.UDP it is bound in any case, since a
// server must be reachable before it has sent anything, and its port is its own: two servers
// must not share one without knowing.
func openUDP(addr tsocket.Addr) (*tsocket.Dgram, error) {
	family := unix.AF_INET
	if addr.IP().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	d, err := bindUDP(fd, family, addr)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return d, nil
}

func bindUDP(fd, family int, addr tsocket.Addr) (*tsocket.Dgram, error) {
	unix.CloseOnExec(fd)
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, err
		}
	}
	sa, err := addr.Sockaddr()
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, err
	}
	return tsocket.DgramFromFD(fd)
}
