package tsocket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These do what package unix does, which would allocate an address for every
// datagram. What does not wait and copies 64 KiB at most the scheduler need not be told
// of.

func recvfrom(fd int, b []byte, raw *rawSockaddr) (n, rawLen int, errno syscall.Errno) {
	size := uint32(len(raw))
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		0, uintptr(raw.pointer()), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, 0, errno
	}
	return int(got), int(size), 0
}

func sendto(fd int, b []byte, raw *rawSockaddr, rawLen int) syscall.Errno {
	var to uintptr
	if rawLen > 0 {
		to = uintptr(raw.pointer())
	}
	if len(b) > maxUDP {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_NOSIGNAL, to, uintptr(rawLen))
		return errno
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL, to, uintptr(rawLen))
	return errno
}

// nextSize returns the size of the datagram that is next.
func nextSize(fd int) (int, syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 0, unix.MSG_PEEK|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
