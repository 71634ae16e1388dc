package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	bus, err := open(t.Context(), "loopback:")
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, run(t.Context(), bus, &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 3)
	for i, line := range lines {
		assert.Contains(t, line, fmt.Sprintf("pid %d: counter = %d", os.Getpid(), i))
	}
}
