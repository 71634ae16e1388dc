// Package harness runs benchmarks that compare: each row is what we do against
// what a user would use instead, measured in the same round of the same run.
//
// An experiment opens whatever processes it needs, and then measures one pair of
// figures (ours, the rival's) per row and round. The ratio of a row is the
// median of the ratios of its rounds, turned so that higher is better.
package harness

import (
	"context"
	"io"
	"math"
	"time"
)

// Suite is the experiments that are run and reported together.
type Suite struct {
	Name        string
	Experiments []Experiment
}

// Rows returns all rows of the suite, in order.
func (s Suite) Rows() []Row {
	var rows []Row
	for _, e := range s.Experiments {
		rows = append(rows, e.Rows...)
	}
	return rows
}

// Row is one line of the report.
type Row struct {
	Name    string // short, unique in the suite, for -run and for scripts
	What    string // what is measured, for people
	Against string // the rival

	// Unit of both figures, "ns", "us", "msg/s", ...
	Unit string

	// Higher is true when the higher figure is the better one, as with
	// messages per second. The ratio is then ours/rival, otherwise rival/ours.
	Higher bool

	// Want is the least ratio asked for. 0 asks for nothing: the row informs.
	Want float64

	// Above demands more than Want, not Want itself.
	Above bool
}

// Ratio returns the ratio of one pair, NaN where there is none. Two equal
// figures have the ratio 1, two zeros too.
func (r Row) Ratio(p Pair) float64 {
	a, b := p.Rival, p.Ours
	if r.Higher {
		a, b = p.Ours, p.Rival
	}
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.NaN()
	}
	if a == b {
		return 1
	}
	return a / b
}

// Holds reports whether a ratio satisfies the row.
func (r Row) Holds(ratio float64) bool {
	if r.Above {
		return ratio > r.Want
	}
	return ratio >= r.Want
}

// Pair is the two figures of one row in one round.
type Pair struct {
	Ours, Rival float64

	// Extra are further figures worth keeping, by name with unit ("p99 us").
	Extra map[string]float64
}

// Experiment measures one or several rows at a time.
type Experiment struct {
	Rows []Row

	// Cheap experiments take part in the smoke test.
	Cheap bool

	// Open prepares: starts processes, connects, warms up. It returns a *Missing
	// error when the machine lacks what the experiment needs.
	Open func(ctx context.Context, env *Env) (Meter, error)
}

// Meter measures. Rows are measured one round after the other.
type Meter interface {
	// Measure returns one pair for each row of the experiment. The two sides
	// are measured in alternation, and round says who begins.
	Measure(ctx context.Context, round int) ([]Pair, error)
	io.Closer
}

// Env is what an experiment may know of the run.
type Env struct {
	// Quick asks for the shortest run that still does everything once.
	Quick bool

	// Dir is an empty directory of the run, with a short path.
	Dir string
}

// Pick returns full, or quick in a quick run.
func (e *Env) Pick(full, quick int) int {
	if e.Quick {
		return quick
	}
	return full
}

// Time is Pick for durations.
func (e *Env) Time(full, quick time.Duration) time.Duration {
	return time.Duration(e.Pick(int(full), int(quick)))
}

// Missing is the error of an experiment that cannot run on this machine.
type Missing struct{ What string }

func (m *Missing) Error() string { return "missing: " + m.What }
