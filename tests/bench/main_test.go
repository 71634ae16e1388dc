package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tests/bench/harness"
)

func TestMain(m *testing.M) {
	// The test's program plays the roles too, as the benchmark's does.
	mainRoles()
	testenv.Main(m)
}

// TestSmoke runs the cheap rows once, all rows where nothing may be left out. It asserts
// nothing about speed: that the rows are well-formed and that nothing was lost, which the rows check
// themselves and fail otherwise.
func TestSmoke(t *testing.T) {
	for suite := range suites {
		t.Run(suite, func(t *testing.T) { smoke(t, suite) })
	}
}

func smoke(t *testing.T, suite string) {
	args := []string{"-suite", suite, "-json", "-quick", "-cheap"}
	if testenv.Required() {
		args = args[:len(args)-1]
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), args, &out, &errs)
	assert.Equal(t, exitDone, code, "%s", errs.String())
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	assert.GreaterOrEqual(t, len(lines), 3)
	for _, l := range lines {
		var r harness.Result
		require.NoError(t, json.Unmarshal([]byte(l), &r), "%s", l)
		assert.Equal(t, suite, r.Suite)
		assert.NotEmpty(t, r.Name)
		assert.NotEmpty(t, r.Against, r.Name)
		assert.NotEmpty(t, r.Unit, r.Name)
		assert.Empty(t, r.Error, r.Name)
		if r.Missing != "" {
			t.Logf("%s: missing: %s", r.Name, r.Missing)
			continue
		}
		require.NotNil(t, r.Ratio, r.Name)
		require.NotNil(t, r.Ours, r.Name)
		require.NotNil(t, r.Rival, r.Name)
		if r.Rival.Median > 0 {
			assert.Positive(t, *r.Ratio, r.Name)
		} else { // "none": how many allocations there are under the race detector means nothing
			assert.GreaterOrEqual(t, *r.Ratio, 0.0, r.Name)
		}
		assert.Len(t, r.Ours.Rounds, 1, r.Name)
		assert.Len(t, r.Others, 1, r.Name)
	}
}

func TestWrongUseIsSaid(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-suite nosuch", `no suite "nosuch"`},
		{"-run (", "-run:"},
		{"-run ^nosuch$", "no row matches"},
		{"-json -markdown", "exclude each other"},
		{"-rounds -1", "negative"},
		{"-quick -update x", "needs the whole suite"},
		{"extra", `unexpected argument "extra"`},
		{"-nosuch", "flag provided but not defined"},
	} {
		var errs bytes.Buffer
		assert.Equal(t, exitUsage, run(t.Context(), strings.Fields(c.args), io.Discard, &errs), c.args)
		assert.Contains(t, errs.String(), c.want, c.args)
	}
	assert.Equal(t, exitDone, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
}

func TestListNamesTheRows(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), []string{"-list"}, &out, io.Discard))
	assert.Contains(t, strings.Fields(out.String()), "roundtrip-nats")
}
