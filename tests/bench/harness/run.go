package harness

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// MaxOthers is how many cores others may use during a round. A round above
// it is measured again.
const MaxOthers = 0.35

// maxTries is how often one round is measured at most.
const maxTries = 3

// Options are what a run can be asked for.
type Options struct {
	Rounds  int // 0: 5, or 1 if Quick
	Quick   bool
	Cheap   bool           // only the cheap experiments
	Match   *regexp.Regexp // nil: all rows
	Dir     string         // for sockets and files; "": a temporary one
	Timeout time.Duration  // of opening, and of one measurement; 0: 3 minutes

	// Progress is told what is being done; nil for silence.
	Progress func(format string, args ...any)

	// Done gets each result as soon as it is there; may be nil.
	Done func(Result)
}

// Run measures the rows of the suite and returns their results in order. A row
// that fails has its error in the result; Run itself fails only when it cannot
// begin or ctx ends.
func Run(ctx context.Context, s Suite, o Options) ([]Result, error) {
	if o.Rounds == 0 {
		o.Rounds = 5
		if o.Quick {
			o.Rounds = 1
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	dir, err := os.MkdirTemp(o.Dir, "cnbench")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)

	var all []Result
	for i, e := range s.Experiments {
		if o.Cheap && !e.Cheap || o.Match != nil && !slices.ContainsFunc(e.Rows, func(r Row) bool { return o.Match.MatchString(r.Name) }) {
			continue
		}
		sub := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(sub, 0o700); err != nil {
			return all, fmt.Errorf("bench: %w", err)
		}
		for _, res := range runExperiment(ctx, s.Name, e, o, sub) {
			if o.Match != nil && !o.Match.MatchString(res.Name) {
				continue
			}
			all = append(all, res)
			if o.Done != nil {
				o.Done(res)
			}
		}
		if err := ctx.Err(); err != nil {
			return all, err
		}
	}
	return all, nil
}

// runExperiment opens one experiment, measures all its rounds and closes it.
func runExperiment(ctx context.Context, suite string, e Experiment, o Options, dir string) []Result {
	results := make([]Result, len(e.Rows))
	for i, r := range e.Rows {
		results[i] = newResult(suite, r)
	}
	note := func(f func(*Result)) {
		for i := range results {
			f(&results[i])
		}
	}
	env := &Env{Quick: o.Quick, Dir: dir}
	o.Progress("%s: opening", e.Rows[0].Name)
	openCtx, cancel := context.WithTimeout(ctx, o.Timeout)
	m, err := e.Open(openCtx, env)
	cancel()
	if err != nil {
		var missing *Missing
		if errors.As(err, &missing) {
			note(func(r *Result) { r.Missing = missing.What })
		} else {
			note(func(r *Result) { r.fail(err) })
		}
		return results
	}
	defer func() {
		if err := m.Close(); err != nil {
			o.Progress("%s: closing: %v", e.Rows[0].Name, err)
		}
	}()
	for round := range o.Rounds {
		pairs, others, err := measureQuietly(ctx, e, m, round, o)
		if err != nil {
			note(func(r *Result) { r.fail(err) })
			return results
		}
		for i := range results {
			results[i].add(e.Rows[i], pairs[i], others)
		}
	}
	for i := range results {
		results[i].finish(e.Rows[i])
	}
	return results
}

// measureQuietly measures one round, again while others disturb it, and
// returns the least disturbed try.
func measureQuietly(ctx context.Context, e Experiment, m Meter, round int, o Options) (best []Pair, others float64, err error) {
	others = math.Inf(1)
	for try := range maxTries {
		o.Progress("%s: round %d of %d, try %d", e.Rows[0].Name, round+1, o.Rounds, try+1)
		load := startLoad()
		ctx, cancel := context.WithTimeout(ctx, o.Timeout)
		pairs, err := m.Measure(ctx, round)
		cancel()
		if err != nil {
			return nil, 0, fmt.Errorf("round %d: %w", round+1, err)
		}
		if len(pairs) != len(e.Rows) {
			return nil, 0, fmt.Errorf("round %d: %d pairs for %d rows", round+1, len(pairs), len(e.Rows))
		}
		if used := load.others(); used < others {
			best, others = pairs, used
		}
		if others <= MaxOthers || o.Quick {
			break
		}
	}
	return best, others, nil
}
