package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// Quantiles against a sorted list: at most a bucket off.
func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int64Range(1, int64(time.Hour)), 1, 200).Draw(t, "durations")
		h := newHistogram()
		for _, d := range all {
			h.add(time.Duration(d))
		}
		slices.Sort(all)
		require.EqualValues(t, all[0], h.min)
		require.EqualValues(t, all[len(all)-1], h.max)
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			want := float64(all[int(math.Ceil(q*float64(len(all))))-1])
			got := float64(h.quantile(q))
			require.GreaterOrEqual(t, got, want*0.99-1, "%v", q)
			require.LessOrEqual(t, got, want*1.10+1, "%v", q)
		}
	})
	assert.Zero(t, newHistogram().quantile(0.5))
}

func TestHistogramPrint(t *testing.T) {
	h := newHistogram()
	for range 1000 {
		h.add(10 * time.Microsecond)
	}
	h.add(40 * time.Microsecond)
	var b strings.Builder
	h.print(&b, cli.Style{})
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	require.Len(t, lines, 3)
	assert.Contains(t, lines[0], strings.Repeat("█", barWidth)+" 1000")
	assert.True(t, strings.HasSuffix(lines[1], " 0"))
	assert.Contains(t, lines[2], "▏", "one of many is still seen")
}
