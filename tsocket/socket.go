package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocket returns a socket that is non-blocking and closed on exec.
func newSocket(family, kind int) (int, error) {
	fd, err := socket(family, kind)
	if err != nil {
		return -1, err
	}
	if fd > 2 {
		return fd, nil
	}
	// Whoever closed one of the standard descriptors must not get a socket
	// under its number.
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	_ = unix.Close(fd)
	return high, err
}

// familyOf returns the family of a socket with these addresses, by the rules of
// C: that of the remote address where the local one is the wildcard without a port;
// otherwise both must be of one family.
func familyOf(local, remote Addr) (int, error) {
	switch {
	case local.IsUnix() && (remote.IsZero() || remote.IsUnix()):
		return unix.AF_UNIX, nil
	case local.kind != addrInet, !remote.IsZero() && remote.kind != addrInet:
		return 0, ErrInvalid
	}
	by := local
	if !remote.IsZero() {
		if local.isAny() {
			by = remote
		} else if local.is4() != remote.is4() {
			return 0, ErrInvalid
		}
	}
	if by.is4() {
		return unix.AF_INET, nil
	}
	return unix.AF_INET6, nil
}

// openSocket makes a socket for these addresses and binds it, but does not
// connect it. As in C an IPv6 socket is for IPv6 only, the address may be reused where a port is
// given, and the wildcard without a port is not bound.
func openSocket(kind int, local, remote Addr) (fd int, err error) {
	family, err := familyOf(local, remote)
	if err != nil {
		return -1, err
	}
	if fd, err = newSocket(family, kind); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	if family == unix.AF_INET6 {
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fd, err
		}
	}
	if local.kind == addrInet && local.port != 0 {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fd, err
		}
	}
	if local.kind == addrInet && local.isAny() || local.kind == addrUnix && local.path == "" {
		return fd, nil
	}
	return fd, bind(fd, local)
}

// sockError returns what became of a connect.
func sockError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if n != 0 {
		return syscall.Errno(n)
	}
	return nil
}
