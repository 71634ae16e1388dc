package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cnbus/cnbus/internal/testenv"
)

// TestASmallSite runs the whole of it with two small sites, and looks at what does not hang on the machine.
func TestASmallSite(t *testing.T) {
	before := goleak.IgnoreCurrent()
	l := load{ids: 5, groups: 2, idle: 500 * time.Millisecond, lease: 5 * time.Second}
	two, err := measure(t.Context(), 2, l)
	require.NoError(t, err)
	four, err := measure(t.Context(), 4, l)
	require.NoError(t, err)
	for _, c := range []cost{two, four} {
		assert.EqualValues(t, c.hosts*(1+1+l.ids), c.keys, "a lease, a number and the ids of each host")
		assert.Positive(t, c.told)
		assert.Positive(t, c.store)
		assert.EqualValues(t, c.hosts*(2+l.groups), c.subs)
	}
	assert.Greater(t, four.told, two.told, "each tells more others")
	far := extrapolate(two, four, 1000)
	assert.True(t, far.guess)
	assert.EqualValues(t, 7000, far.keys)
	assert.EqualValues(t, 4000, far.subs)
	testenv.NoLeaks(t, before)
}

func TestTableAndWrongUse(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), strings.Fields("-hosts 2 -ids 1 -groups 1 -idle 10ms -lease 5s"), &out))
	assert.Regexp(t, `(?m)^ *2 +\d+\.\d\d s +\d+ +6 +6 `, out.String())
	assert.ErrorContains(t, run(t.Context(), []string{"-hosts", "1"}, &out), "from 2 up")
}
