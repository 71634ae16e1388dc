package harness

import (
	"math"
	"slices"
)

// Summary is a set of figures, one per round: their median, their extremes and
// the figures themselves, in the order measured.
type Summary struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"`
}

// Summarize returns the summary of v, nil for no figures. NaN is not a figure
// and is left out.
func Summarize(v []float64) *Summary {
	kept := make([]float64, 0, len(v))
	for _, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			kept = append(kept, x)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return &Summary{Median: Median(kept), Min: slices.Min(kept), Max: slices.Max(kept), Rounds: kept}
}

// Spread is the distance of the extremes as a part of the median: 0.2 means
// that the rounds differ by a fifth.
func (s *Summary) Spread() float64 {
	if s == nil || s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / math.Abs(s.Median)
}

// Median returns the middle of v, the mean of the two middle ones if their
// number is even, NaN for none. It leaves v as it is.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m]
	}
	return (s[m-1] + s[m]) / 2
}

// Quantile returns the smallest of samples that at least the part q of them
// does not exceed (nearest rank, no interpolation), NaN for none. It leaves samples as they are.
func Quantile(samples []int64, q float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(samples))
	rank := int(math.Ceil(q*float64(len(s)))) - 1
	return float64(s[min(max(rank, 0), len(s)-1)])
}
