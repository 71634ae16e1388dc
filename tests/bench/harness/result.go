package harness

import (
	"math"
	"slices"
)

// Marks of a result.
const (
	MarkOK      = "ok"      // the ratio is what was asked for
	MarkBelow   = "below"   // it is not
	MarkInfo    = "info"    // nothing was asked for
	MarkMissing = "missing" // there is no ratio: a rival, or what the row needs, is missing
	MarkFailed  = "failed"  // the measurement failed
)

// Result is a row with its figures, as -json prints it. Nothing in it is NaN
// or infinite; what is not there is left out.
type Result struct {
	Suite   string   `json:"suite"`
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Against string   `json:"against"`
	Ratio   *float64 `json:"ratio"` // median of Ratios, higher is better; null without a rival
	Want    *float64 `json:"want"`  // the least Ratio asked for; null where nothing is
	Mark    string   `json:"mark"`
	Unit    string   `json:"unit"`
	Higher  bool     `json:"higher_figure_is_better"`
	Ours    *Summary `json:"ours,omitempty"`
	Rival   *Summary `json:"rival,omitempty"`
	Ratios  *Summary `json:"ratios,omitempty"`

	// Others is how many cores other processes used in each round; Disturbed how
	// many rounds stayed above MaxOthers after all tries.
	Others    []float64 `json:"others_cores,omitempty"`
	Disturbed int       `json:"disturbed_rounds"`

	// Extra are medians of further figures, by name.
	Extra map[string]float64 `json:"extra,omitempty"`

	Missing string `json:"missing,omitempty"` // which rival is not there, and how to get it
	Error   string `json:"error,omitempty"`

	ours, rival, ratios []float64
	extra               map[string][]float64
}

func newResult(suite string, r Row) Result {
	res := Result{
		Suite: suite, Name: r.Name, What: r.What, Against: r.Against, Unit: r.Unit, Higher: r.Higher,
		extra: make(map[string][]float64),
	}
	if r.Want != 0 {
		res.Want = &r.Want
	}
	res.Mark = res.mark(r)
	return res
}

// add takes the figures of one round.
func (res *Result) add(r Row, p Pair, others float64) {
	res.ours = append(res.ours, p.Ours)
	res.rival = append(res.rival, p.Rival)
	res.ratios = append(res.ratios, r.Ratio(p))
	res.Others = append(res.Others, round3(others))
	if others > MaxOthers {
		res.Disturbed++
	}
	for k, v := range p.Extra {
		res.extra[k] = append(res.extra[k], v)
	}
}

// finish computes what the report shows.
func (res *Result) finish(r Row) {
	res.Ours, res.Rival, res.Ratios = Summarize(res.ours), Summarize(res.rival), Summarize(res.ratios)
	if res.Ratios != nil {
		res.Ratio = &res.Ratios.Median
	}
	for k, v := range res.extra {
		if s := Summarize(v); s != nil {
			if res.Extra == nil {
				res.Extra = make(map[string]float64)
			}
			res.Extra[k] = s.Median
		}
	}
	res.Mark = res.mark(r)
}

// fail makes the result that of a measurement that failed.
func (res *Result) fail(err error) { res.Error, res.Mark = err.Error(), MarkFailed }

func (res *Result) mark(r Row) string {
	switch {
	case res.Ratio == nil:
		return MarkMissing
	case r.Want == 0:
		return MarkInfo
	case r.Holds(*res.Ratio):
		return MarkOK
	}
	return MarkBelow
}

// Worst returns MarkFailed if a result failed, else MarkBelow if one is below what
// was asked for, else MarkOK.
func Worst(results []Result) string {
	has := func(mark string) bool {
		return slices.ContainsFunc(results, func(r Result) bool { return r.Mark == mark })
	}
	for _, mark := range []string{MarkFailed, MarkBelow} {
		if has(mark) {
			return mark
		}
	}
	return MarkOK
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }
