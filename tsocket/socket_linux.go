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
	var raw rawSockaddr
	size := uint32(len(raw))
	r, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(raw.pointer()), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, Addr{}, errno
	}
	return int(r), addrOf(&raw, size), 0
}

// sockName returns the address that the socket is bound to.
func sockName(fd int) Addr { return nameOf(unix.SYS_GETSOCKNAME, fd) }

// peerName returns the address that the socket is connected to.
func peerName(fd int) Addr { return nameOf(unix.SYS_GETPEERNAME, fd) }

func nameOf(call uintptr, fd int) Addr {
	var raw rawSockaddr
	size := uint32(len(raw))
	if _, _, errno := unix.Syscall(call, uintptr(fd), uintptr(raw.pointer()), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return Addr{}
	}
	return addrOf(&raw, size)
}

// addrOf returns the address that a call has stored; the zero Addr for one of
// another family.
func addrOf(raw *rawSockaddr, size uint32) Addr {
	a, _ := AddrFromRaw(raw[:min(int(size), len(raw))])
	return a
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
