package tsocket_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	tcpKeepIdle    = unix.TCP_KEEPIDLE
	tcpUserTimeout = unix.TCP_USER_TIMEOUT
)

func onlyLinux(testing.TB) {}

// openFiles returns how many descriptors the process has.
func openFiles(t testing.TB) int {
	names, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(names)
}
