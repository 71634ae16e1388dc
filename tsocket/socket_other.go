//go:build unix && !linux

package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// settle makes a new descriptor non-blocking and closed on exec. The fork lock
// keeps a child from inheriting it in between.
func settle(fd int) error {
	unix.CloseOnExec(fd)
	return unix.SetNonblock(fd, true)
}

func socket(family, kind int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	if err == nil {
		err = settle(fd)
	}
	return fd, err
}

func socketPair(kind int) ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		err = settle(fds[0])
	}
	if err == nil {
		err = settle(fds[1])
	}
	return fds, err
}

func accept(fd int) (int, Addr, syscall.Errno) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, sa, err := unix.Accept(fd)
	if err == nil {
		err = settle(n)
	}
	a, _ := AddrFromSockaddr(sa)
	return n, a, errnoOf(err)
}

// sockName returns the address that the socket is bound to.
func sockName(fd int) Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return Addr{}
	}
	a, _ := AddrFromSockaddr(sa)
	return a
}

// peerName returns the address that the socket is connected to.
func peerName(fd int) Addr {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return Addr{}
	}
	a, _ := AddrFromSockaddr(sa)
	return a
}

func bind(fd int, a Addr) error {
	sa, err := a.Sockaddr()
	if err != nil {
		return err
	}
	return unix.Bind(fd, sa)
}

// connect starts to connect; nil, EINPROGRESS or the error.
func connect(fd int, a Addr) error {
	sa, err := a.Sockaddr()
	if err != nil {
		return err
	}
	err = unix.Connect(fd, sa)
	if err == syscall.EINTR {
		return syscall.EINPROGRESS // it goes on
	}
	return err
}
