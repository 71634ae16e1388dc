//go:build !race

package tsocket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quietMax is how many bytes a system call may copy that the scheduler is not told of. The descriptor
// does not block, so that it would be told in vain.
const quietMax = 64 << 10

// Package syscall's own call spares a change of calling conventions, and RawSyscall one more call.

func readQuietly(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func writeQuietly(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if errno == syscall.ENOTSOCK {
		n, _, errno = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
