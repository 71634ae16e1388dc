package tsocket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func socket(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

func socketPair(kind int) ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// Package unix has other ideas of an empty path, of one that begins with "@",
// and of a NUL in an abstract name: these pass and take the bytes as they are.

func accept(fd int) (n int, peer Addr, errno syscall.Errno) {
	peer, n, errno = nameFrom(func(raw *rawSockaddr, size *uint32) (int, syscall.Errno) {
		n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(raw.pointer()), uintptr(unsafe.Pointer(size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		return int(n), errno
	})
	return n, peer, errno
}

// sockName returns the address that the socket is bound to.
func sockName(fd int) Addr { return nameOf(unix.SYS_GETSOCKNAME, fd) }

// peerName returns the address that the socket is connected to.
func peerName(fd int) Addr { return nameOf(unix.SYS_GETPEERNAME, fd) }

func nameOf(call uintptr, fd int) Addr {
	a, _, _ := nameFrom(func(raw *rawSockaddr, size *uint32) (int, syscall.Errno) {
		_, _, errno := unix.Syscall(call, uintptr(fd), uintptr(raw.pointer()), uintptr(unsafe.Pointer(size)))
		return 0, errno
	})
	return a
}

// nameFrom returns the address that a call stores; the zero Addr for one of
// another family.
func nameFrom(call func(raw *rawSockaddr, size *uint32) (int, syscall.Errno)) (Addr, int, syscall.Errno) {
	var raw rawSockaddr
	size := uint32(len(raw))
	n, errno := call(&raw, &size)
	if errno != 0 {
		return Addr{}, -1, errno
	}
	a, _ := AddrFromRaw(raw[:min(int(size), len(raw))])
	return a, n, 0
}

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
