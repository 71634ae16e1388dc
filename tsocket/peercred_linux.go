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
	gids := make([]uint32, 64)
	for range 2 {
		n := uint32(4 * len(gids))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&gids[0])), uintptr(unsafe.Pointer(&n)), 0)
		switch {
		case e == 0:
			return gids[: n/4 : n/4]
		case e == unix.ERANGE && int(n/4) > len(gids):
			gids = make([]uint32, n/4)
		default:
			return nil
		}
	}
	return nil
}
