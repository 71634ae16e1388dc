//go:build unix

package keyring

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A stamp changes when a file does.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
	device   uint64
}

// stampOf returns the stamp, and whether only root or this process's user can read or change the file.
func stampOf(st fs.FileInfo) (stamp, bool) {
	s := stamp{modified: st.ModTime(), size: st.Size()}
	private := st.Mode().IsRegular() && st.Mode().Perm()&0o077 == 0
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.inode, s.device = sys.Ino, uint64(sys.Dev)
		private = private && (sys.Uid == 0 || int(sys.Uid) == os.Geteuid())
	}
	return s, private
}
