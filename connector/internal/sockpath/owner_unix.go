//go:build unix

package sockpath

import (
	"os"
	"syscall"
)

// owned reports whether the calling user owns the file.
func owned(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Getuid()
}
