package main

import (
	"strings"
	"testing"

	"github.com/cnbus/cnbus/cbid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	bus, err := open(t.Context(), "loopback:")
	require.NoError(t, err)
	var out strings.Builder
	require.NoError(t, run(t.Context(), bus, &out))
	early, late := cbid.Make(0x125, 1).String(), cbid.Make(0x125, 2).String()
	assert.Equal(t, "present "+early+" early\nthat is all at present\nadded "+late+" late\nremoved "+early+" early\n", out.String())
}
