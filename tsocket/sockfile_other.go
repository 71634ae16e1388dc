//go:build unix && !linux

package tsocket

import (
	"os"

	"golang.org/x/sys/unix"
)

// openPath looks at a path, and follows no symbolic link at its end; there is no descriptor.
func openPath(path string) (fd int, st unix.Stat_t, err error) {
	return -1, st, unix.Lstat(path, &st)
}

func chmodPath(_ int, path string, mode uint32) error {
	return unix.Fchmodat(unix.AT_FDCWD, path, mode, unix.AT_SYMLINK_NOFOLLOW)
}

func premode(int, os.FileMode) {}
