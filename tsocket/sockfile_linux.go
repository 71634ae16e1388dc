package tsocket

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openPath opens a path as a name only, which follows no symbolic link at its end.
func openPath(path string) (fd int, st unix.Stat_t, err error) {
	fd, err = unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.EMFILE || err == unix.ENFILE {
		return -1, st, unix.Lstat(path, &st) // the socket has the inode
	}
	if err != nil {
		return -1, st, err
	}
	if err = unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, st, err
	}
	return fd, st, nil
}

// chmodPath changes what openPath has opened, and nothing that has come to the path since. Kernels before 6.6 can do so by /proc alone.
func chmodPath(fd int, _ string, mode uint32) error {
	if fd < 0 {
		return unix.EMFILE
	}
	if unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH) == nil {
		return nil
	}
	return os.Chmod("/proc/self/fd/"+strconv.Itoa(fd), os.FileMode(mode))
}

// premode has a socket that will be bound make a file with no more permissions than mode (unix_bind takes those of the socket, and the umask).
func premode(fd int, mode os.FileMode) { _ = unix.Fchmod(fd, uint32(mode.Perm())) }
