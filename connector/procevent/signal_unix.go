//go:build unix

package procevent

import (
	"os"
	"syscall"
	"time"
)

var endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT}

// raise ends the process by a signal that is no longer caught. Go ignores a SIGPIPE that is
// not its own, so that one ends it with the status that a shell shows for it.
func raise(s os.Signal) {
	n, ok := s.(syscall.Signal)
	if !ok {
		os.Exit(1)
	}
	if n != syscall.SIGPIPE && syscall.Kill(os.Getpid(), n) == nil {
		<-time.After(time.Second) // it comes on any thread, in a moment
	}
	os.Exit(128 + int(n))
}
