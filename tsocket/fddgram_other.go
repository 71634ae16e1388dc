//go:build unix && !linux

package tsocket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func recvfrom(fd int, b []byte, raw *rawSockaddr) (n, rawLen int, errno syscall.Errno) {
	n, sa, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return 0, 0, errnoOf(err)
	}
	a, err := AddrFromSockaddr(sa)
	if err != nil {
		return n, 0, 0
	}
	return n, a.putRaw(raw), 0
}

func sendto(fd int, b []byte, raw *rawSockaddr, rawLen int) syscall.Errno {
	if rawLen == 0 {
		_, err := unix.Write(fd, b)
		return errnoOf(err)
	}
	a, err := AddrFromRaw(raw[:rawLen])
	if err != nil {
		return syscall.EINVAL
	}
	sa, err := a.Sockaddr()
	if err != nil {
		return syscall.EINVAL
	}
	return errnoOf(unix.Sendto(fd, b, 0, sa))
}

// nextSize returns as much as any datagram has here.
func nextSize(int) (int, syscall.Errno) { return maxUDP, 0 }
