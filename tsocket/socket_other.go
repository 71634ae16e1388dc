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

func accept(fd int) (int, unix.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, sa, err := unix.Accept(fd)
	if err == nil {
		err = settle(n)
	}
	return n, sa, err
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
