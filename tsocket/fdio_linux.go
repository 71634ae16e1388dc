package tsocket

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovMax is the kernel's limit of vectors in one call, and C's for an operation.
const iovMax = 1024

// fewVectors is how many vectors package unix passes without allocating.
const fewVectors = 8

// readv reads into as many of bufs as can be passed without allocating: a read
// may be short. An empty vector in front is harmless, the sum is not 0.
func readv(fd int, bufs [][]byte) (int, syscall.Errno) {
	for len(bufs) > 0 && len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	if len(bufs) == 1 {
		return readOne(fd, bufs[0])
	}
	n, err := unix.Readv(fd, bufs[:min(len(bufs), fewVectors)])
	return max(n, 0), errnoOf(err)
}

// writev writes from x.bufs once.
func writev(fd int, x *fdXfer) (int, syscall.Errno) {
	bufs := x.bufs[:min(len(x.bufs), iovMax)]
	if len(bufs) == 1 {
		return writeOne(fd, bufs[0])
	}
	if len(bufs) <= fewVectors {
		n, err := unix.Writev(fd, bufs)
		return max(n, 0), errnoOf(err)
	}
	// As few system calls as possible count more here than the race
	// detector's look at the bytes.
	x.iov = x.iov[:0]
	for _, b := range bufs {
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		x.iov = append(x.iov, v)
	}
	n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&x.iov[0])), uintptr(len(x.iov)))
	clear(x.iov)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func readOne(fd int, b []byte) (int, syscall.Errno) {
	if len(b) <= quietMax {
		return readQuietly(fd, b)
	}
	n, err := unix.Read(fd, b)
	return max(n, 0), errnoOf(err)
}

func writeOne(fd int, b []byte) (int, syscall.Errno) {
	if len(b) <= quietMax {
		return writeQuietly(fd, b)
	}
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
func queued(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCINQ) }

// brokenBy returns why the connection is broken, 0 if it is not, and the error
// that it took off the socket to know.
func brokenBy(fd int) (why, soError syscall.Errno) {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	for {
		_, err := unix.Poll(p[:], 0)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			return errnoOf(err), 0
		}
	}
	got := p[0].Revents
	if got&unix.POLLERR != 0 {
		if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
			return syscall.Errno(n), syscall.Errno(n)
		}
	}
	switch {
	case got&unix.POLLNVAL != 0:
		return syscall.EBADF, 0
	case got&unix.POLLHUP != 0:
		return syscall.EPIPE, 0
	case got&unix.POLLRDHUP != 0:
		return syscall.ECONNRESET, 0
	case got&unix.POLLERR != 0:
		return syscall.EPIPE, 0
	}
	return 0, 0
}
