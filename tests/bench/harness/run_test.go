package harness

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script is an experiment whose figures are given.
type script struct {
	pairs  [][]Pair // by round
	err    error
	closed *int
}

func (s script) Measure(_ context.Context, round int) ([]Pair, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.pairs[round%len(s.pairs)], nil
}

func (s script) Close() error { *s.closed++; return nil }

func (s script) experiment(rows ...Row) Experiment {
	return Experiment{Rows: rows, Open: func(context.Context, *Env) (Meter, error) { return s, nil }}
}

func TestRunReportsTheMedianOfTheRatiosOfTheRounds(t *testing.T) {
	var closed int
	s := script{closed: &closed, pairs: [][]Pair{
		{{Ours: 10, Rival: 20, Extra: map[string]float64{"p99 us": 30}}},
		{{Ours: 10, Rival: 50, Extra: map[string]float64{"p99 us": 50}}},
		{{Ours: 40, Rival: 40, Extra: map[string]float64{"p99 us": 40}}},
	}}
	row := Row{Name: "trip", Against: "rival", Unit: "us", Want: 2}
	var told []string
	results, err := Run(t.Context(), Suite{Name: "s", Experiments: []Experiment{s.experiment(row)}}, Options{
		Rounds: 3, Quick: true, Dir: t.TempDir(), Done: func(r Result) { told = append(told, r.Name) },
	})
	require.NoError(t, err)
	require.Len(t, results, 1)
	r := results[0]
	assert.Equal(t, []float64{2, 5, 1}, r.Ratios.Rounds)
	assert.Equal(t, 2.0, *r.Ratio, "not the ratio of the medians, 40/10")
	assert.Equal(t, 2.0, *r.Want)
	assert.Equal(t, MarkOK, r.Mark)
	assert.Equal(t, Summary{Median: 10, Min: 10, Max: 40, Rounds: []float64{10, 10, 40}}, *r.Ours)
	assert.Equal(t, 40.0, r.Extra["p99 us"])
	assert.Len(t, r.Others, 3)
	assert.Equal(t, []string{"trip"}, told)
	assert.Equal(t, 1, closed)
}

func TestRunSaysWhatIsMissingAndWhatFailed(t *testing.T) {
	var closed int
	missing := Experiment{Rows: []Row{{Name: "a", Want: 1}}, Open: func(context.Context, *Env) (Meter, error) {
		return nil, &Missing{What: "the rival"}
	}}
	broken := Experiment{Rows: []Row{{Name: "b", Want: 1}}, Open: func(context.Context, *Env) (Meter, error) {
		return nil, assert.AnError
	}}
	failing := script{err: errors.New("lost 3"), closed: &closed}.experiment(Row{Name: "c", Want: 1}, Row{Name: "d"})
	short := script{pairs: [][]Pair{{{}}}, closed: &closed}.experiment(Row{Name: "e"}, Row{Name: "f"})
	results, err := Run(t.Context(), Suite{Experiments: []Experiment{missing, broken, failing, short}}, Options{Quick: true, Dir: t.TempDir()})
	require.NoError(t, err)
	var marks, errs string
	for _, r := range results {
		marks += r.Name + " " + r.Mark + ", "
		errs += r.Error + "|"
		assert.Nil(t, r.Ratio)
	}
	assert.Equal(t, "a missing, b failed, c failed, d failed, e failed, f failed, ", marks)
	assert.Equal(t, "the rival", results[0].Missing)
	assert.Contains(t, errs, "lost 3")
	assert.Contains(t, errs, "1 pairs for 2 rows")
	assert.Equal(t, 2, closed, "what was opened is closed")
	assert.Equal(t, MarkFailed, Worst(results))
}

func TestRunTakesOnlyMatchingAndCheapRows(t *testing.T) {
	var closed int
	s := script{pairs: [][]Pair{{{Ours: 1, Rival: 1}, {Ours: 2, Rival: 1}}}, closed: &closed}
	cheap := s.experiment(Row{Name: "alpha", Want: 1}, Row{Name: "beta", Want: 1})
	cheap.Cheap = true
	dear := s.experiment(Row{Name: "gamma"}, Row{Name: "alphabet"})
	suite := Suite{Experiments: []Experiment{cheap, dear}}
	names := func(o Options) (n []string) {
		o.Quick, o.Dir = true, t.TempDir()
		results, err := Run(t.Context(), suite, o)
		require.NoError(t, err)
		for _, r := range results {
			n = append(n, r.Name)
		}
		return n
	}
	assert.Equal(t, []string{"alpha", "beta", "gamma", "alphabet"}, names(Options{}))
	assert.Equal(t, []string{"alpha", "beta"}, names(Options{Cheap: true}))
	assert.Equal(t, []string{"alpha", "alphabet"}, names(Options{Match: regexp.MustCompile("^alpha")}))
	assert.Equal(t, 5, closed)
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := Experiment{Rows: []Row{{Name: "a"}}, Open: func(ctx context.Context, _ *Env) (Meter, error) { return nil, ctx.Err() }}
	results, err := Run(ctx, Suite{Experiments: []Experiment{never, never}}, Options{Quick: true, Dir: t.TempDir()})
	require.ErrorIs(t, err, context.Canceled)
	assert.Len(t, results, 1)
}
