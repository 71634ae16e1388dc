package tsocket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func peerCred(fd int) (Cred, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Cred{}, err
	}
	return Cred{PID: int(u.Pid), UID: u.Uid, GID: u.Gid, Groups: peerGroups(fd)}, nil
}

func peerGroups(fd int) []uint32 {
	var few [64]uint32
	gids := few[:]
	for range 2 {
		n := uint32(4 * len(gids))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&gids[0])), uintptr(unsafe.Pointer(&n)), 0)
		switch {
		case e == 0:
			return append(make([]uint32, 0, n/4), gids[:n/4]...) // as small as can be: servers keep it for each client
		case e == unix.ERANGE && int(n/4) > len(gids):
			gids = make([]uint32, n/4)
		default:
			return nil
		}
	}
	return nil
}
