package main

import (
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
	require.Len(t, lines, 4)
	assert.Equal(t, []string{"1 2: 3", "20 22: 42", "one two: two numbers, please"}, lines[:3])
	assert.Contains(t, lines[3], "no such id")
}
