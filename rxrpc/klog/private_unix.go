//go:build unix

package klog

import (
	"io/fs"
	"os"
	"syscall"
)

// private reports whether only root and this process's user can read or change a file.
func private(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return st.Mode().Perm()&0o077 == 0 && (!ok || sys.Uid == 0 || int(sys.Uid) == os.Geteuid())
}
