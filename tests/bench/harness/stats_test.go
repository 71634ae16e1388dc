package harness

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMedianOfOddEvenAndNone(t *testing.T) {
	v := []float64{9, 1, 5}
	assert.Equal(t, 5.0, Median(v))
	assert.Equal(t, []float64{9, 1, 5}, v, "the order of the rounds is kept")
	assert.Equal(t, 3.0, Median([]float64{1, 5, 4, 2}))
	assert.True(t, math.IsNaN(Median(nil)))
}

func TestQuantileIsNearestRank(t *testing.T) {
	var v []int64
	for i := int64(100); i > 0; i-- {
		v = append(v, i)
	}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {0.01, 1}, {0.5, 50}, {0.99, 99}, {0.991, 100}, {1, 100}} {
		assert.Equal(t, c.want, Quantile(v, c.q), "q = %v", c.q)
	}
	assert.Equal(t, 7.0, Quantile([]int64{7}, 0.99))
	assert.True(t, math.IsNaN(Quantile(nil, 0.5)))
	assert.Equal(t, int64(100), v[0], "the samples are kept")
}

func TestSummarizeLeavesOutWhatIsNoFigure(t *testing.T) {
	s := Summarize([]float64{3, math.NaN(), 1, math.Inf(1), 2})
	require.NotNil(t, s)
	assert.Equal(t, Summary{Median: 2, Min: 1, Max: 3, Rounds: []float64{3, 1, 2}}, *s)
	assert.Equal(t, 1.0, s.Spread())
	assert.Nil(t, Summarize([]float64{math.NaN()}))
	assert.Zero(t, (*Summary)(nil).Spread())
}

func TestRatioIsHigherWhenOursIsBetter(t *testing.T) {
	faster, more := Row{}, Row{Higher: true}
	assert.Equal(t, 2.0, faster.Ratio(Pair{Ours: 50, Rival: 100}))
	assert.Equal(t, 2.0, more.Ratio(Pair{Ours: 100, Rival: 50}))
	assert.Equal(t, 1.0, faster.Ratio(Pair{}), "no loss on either side")
	assert.True(t, math.IsNaN(faster.Ratio(Pair{Ours: 1, Rival: math.NaN()})))
}

func TestHolds(t *testing.T) {
	assert.True(t, Row{Want: 1}.Holds(1))
	assert.False(t, Row{Want: 1, Above: true}.Holds(1))
	assert.True(t, Row{Want: 1, Above: true}.Holds(1.01))
	assert.False(t, Row{Want: 6}.Holds(5.99))
}

func TestAlternateLetsBothBegin(t *testing.T) {
	var got string
	say := func(s string) func() error {
		return func() error { got += s; return nil }
	}
	require.NoError(t, Alternate(0, 3, say("o"), say("r")))
	assert.Equal(t, "orroor", got)
	got = ""
	require.NoError(t, Alternate(1, 2, say("o"), say("r")))
	assert.Equal(t, "roor", got)
	got = ""
	assert.Equal(t, assert.AnError, Alternate(0, 2, say("o"), func() error { return assert.AnError }))
	assert.Equal(t, "o", got)
}

func TestParseBusyLeavesOutIdleTime(t *testing.T) {
	assert.Equal(t, 2.5, parseBusy("cpu  100 20 30 999999 888 40 50 10 7 7\ncpu0 1 1 1 1 1 1 1 1 0 0\n"))
	for _, bad := range []string{"", "cpu", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 x 4 5 6 7 8"} {
		assert.Zero(t, parseBusy(bad), "%q", bad)
	}
}
