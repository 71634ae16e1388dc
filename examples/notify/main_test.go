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
	assert.Equal(t, told, out.String())
}

const told = "8449:5 is on\n8450:100 is on\n8449:5 is off\n8450:100 is off\n"
