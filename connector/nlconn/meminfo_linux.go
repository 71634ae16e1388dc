package nlconn

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
)

// MemInfo is what SO_MEMINFO tells of a socket's receive side.
type MemInfo struct {
	Queued uint32 // bytes of the receive buffer in use
	Buffer uint32 // its size
	Drops  uint32 // messages dropped because it was full, since the socket exists; wraps
}

// MemInfo reads the socket's counters. Drops is exact, with filters too: what
// a filter refuses is not counted, what was lost to a full buffer is.
func (s *Socket) MemInfo() (MemInfo, error) {
	var m [9]uint32 // SK_MEMINFO_VARS
	size := uint32(unsafe.Sizeof(m))
	var errno unix.Errno
	err := s.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&size)), 0)
	})
	switch {
	case err != nil:
		return MemInfo{}, s.error("meminfo", err)
	case errno != 0:
		return MemInfo{}, &connector.OpError{Op: "meminfo", Err: os.NewSyscallError("getsockopt SO_MEMINFO", errno)}
	}
	return MemInfo{Queued: m[0], Buffer: m[1], Drops: m[8]}, nil
}
