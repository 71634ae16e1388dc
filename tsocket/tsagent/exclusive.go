package tsagent

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// openExclusive opens a UDP socket that is bound in any case, and whose port is its own: two servers must not
// share one without knowing, and tsocket.UDP would let them.
func openExclusive(local, _ tsocket.Addr) (*tsocket.Dgram, error) {
	if local.IsUnix() {
		return nil, &Error{syscall.EOPNOTSUPP, "bind: EXCLUSIVE is for UDP"}
	}
	family := unix.AF_INET
	if local.IP().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	d, err := bindExclusive(fd, family, local)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	d.EnableGRO() // nothing but the speed changes
	return d, nil
}

func bindExclusive(fd, family int, local tsocket.Addr) (*tsocket.Dgram, error) {
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, err
		}
	}
	sa, err := local.Sockaddr()
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		return nil, err
	}
	return tsocket.DgramFromFD(fd)
}
