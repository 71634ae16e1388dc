package usernet

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func netNS(t *testing.T) string {
	l, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	return l
}

// The parent tells the child its namespace, so that the child can see that it is elsewhere.
func TestPrivateIsElsewhereAndRoot(t *testing.T) {
	if !Inside(t) {
		t.Setenv("OUTER_NS", netNS(t))
	}
	Private(t, func(t *testing.T) {
		assert.NotEqual(t, os.Getenv("OUTER_NS"), netNS(t))
		assert.Zero(t, os.Getuid())
		assert.FileExists(t, "/proc/self/uid_map")
	})
}

func TestAsIsNobody(t *testing.T) {
	As(t, 65534, func(t *testing.T) { assert.Equal(t, 65534, os.Geteuid()) })
}

func TestSubtestsAreSelected(t *testing.T) {
	for _, name := range []string{"one", "two (odd) name"} {
		t.Run(name, func(t *testing.T) {
			NewNet(t, func(t *testing.T) { assert.True(t, Inside(t)) })
		})
	}
}

func TestPatternIsExact(t *testing.T) {
	assert.Equal(t, "^TestA$/^b\\.c$", pattern("TestA/b.c"))
}
