//go:build unix && !linux

package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func readNow(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Read(fd, b)
	return max(n, 0), errnoOf(err)
}

func writeNow(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Write(fd, b)
	return max(n, 0), errnoOf(err)
}
