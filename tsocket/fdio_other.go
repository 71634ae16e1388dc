//go:build unix && !linux

package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// iovMax is C's limit of vectors for an operation.
const iovMax = 1024

// readv reads into the first vector that is not empty: a read may be short.
func readv(fd int, bufs [][]byte) (int, syscall.Errno) {
	for len(bufs) > 1 && len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	return readOne(fd, bufs[0])
}

// writev writes from the first vector of x.bufs that is not empty.
func writev(fd int, x *fdXfer) (int, syscall.Errno) {
	bufs := x.bufs
	for len(bufs) > 1 && len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	return writeOne(fd, bufs[0])
}

func readOne(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Read(fd, b)
	return max(n, 0), errnoOf(err)
}

func writeOne(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Write(fd, b)
	return max(n, 0), errnoOf(err)
}

func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.EIO
}

// queued returns how many bytes can be read.
func queued(fd int) (int, error) { return unix.IoctlGetInt(fd, fionread) }

// fionread is the same number on all of these systems.
const fionread = 0x4004667f

// brokenBy returns why the connection is broken, 0 if it is not known to be,
// and the error that it took off the socket to know. These systems tell of the end of the peer's
// writing by reading only.
func brokenBy(fd int) (why, soError syscall.Errno) {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(p[:], 0); err != nil {
		return 0, 0
	}
	got := p[0].Revents
	if got&unix.POLLERR != 0 {
		if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
			return syscall.Errno(n), syscall.Errno(n)
		}
	}
	if n, err := queued(fd); got&unix.POLLHUP != 0 && err == nil && n == 0 {
		return syscall.EPIPE, 0
	}
	return 0, 0
}
