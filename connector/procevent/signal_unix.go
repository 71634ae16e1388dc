//go:build unix

package procevent

import (
	"os"
	"syscall"
)

var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT}

// raise sends the process a signal that is no longer caught. SIGQUIT and the
// others that Go handles itself end it too.
func raise(s os.Signal) {
	if n, ok := s.(syscall.Signal); ok && syscall.Kill(os.Getpid(), n) == nil {
		return
	}
	os.Exit(1)
}
