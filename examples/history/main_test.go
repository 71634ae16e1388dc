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
	assert.Equal(t, `the receiver reads three messages and goes
  1: event 1
  2: event 2
  3: event 3
ten are published meanwhile; it comes back
  5 lost here
  9: event 9
  10: event 10
  11: event 11
  12: event 12
  13: event 13
  14: event 14
`, out.String())
}
