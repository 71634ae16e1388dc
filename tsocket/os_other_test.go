//go:build unix && !linux

package tsocket_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
)

const (
	tcpKeepIdle    = 0x10
	tcpUserTimeout = 0
)

// onlyLinux: elsewhere no event tells of a peer that has gone while nobody reads.
func onlyLinux(t testing.TB) { testenv.Skip(t, "Linux only") }

// openFiles returns how many descriptors the process has.
func openFiles(t testing.TB) int {
	names, err := os.ReadDir("/dev/fd")
	require.NoError(t, err)
	return len(names)
}
