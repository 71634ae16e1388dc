package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func socket(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func socketPair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func accept(fd int) (int, unix.Sockaddr, error) {
	return unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// Package unix has other ideas of an empty path, and of one that begins with
// "@": these pass the bytes that C passes.

func bind(fd int, a Addr) error { return withRaw(unix.SYS_BIND, fd, a) }

// connect starts to connect; nil, EINPROGRESS or the error.
func connect(fd int, a Addr) error {
	err := withRaw(unix.SYS_CONNECT, fd, a)
	if err == syscall.EINTR {
		return syscall.EINPROGRESS // it goes on
	}
	return err
}

func withRaw(call uintptr, fd int, a Addr) error {
	var raw rawSockaddr
	n := a.putRaw(&raw)
	if _, _, errno := unix.Syscall(call, uintptr(fd), uintptr(raw.pointer()), uintptr(n)); errno != 0 {
		return errno
	}
	return nil
}
