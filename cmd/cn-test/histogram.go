package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// histogram counts durations in buckets that grow by a factor: 2^(1/8), so that
// a quantile is at most 9 % off.
type histogram struct {
	n        int
	min, max time.Duration
	buckets  [8 * 63]int
}

func newHistogram() *histogram { return &histogram{min: math.MaxInt64} }

func bucket(d time.Duration) int { return int(8 * math.Log2(float64(max(d, 1)))) }

// edge is the lower edge of a bucket.
func edge(i int) time.Duration { return time.Duration(math.Exp2(float64(i) / 8)) }

func (h *histogram) add(d time.Duration) {
	h.n++
	h.min, h.max = min(h.min, d), max(h.max, d)
	h.buckets[bucket(d)]++
}

// quantile returns the duration that q of all do not exceed, 0 without any.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(h.n)))
	for i, c := range h.buckets {
		if rank -= c; rank <= 0 && c > 0 {
			return max(min(edge(i+1), h.max), h.min)
		}
	}
	return 0
}

// barWidth is the length of the longest bar.
const barWidth = 40

// print draws a bar for each factor of two.
func (h *histogram) print(w io.Writer, s cli.Style) {
	if h.n == 0 {
		return
	}
	var rows [63]int
	top := 0
	for i, c := range h.buckets {
		rows[i/8] += c
		top = max(top, rows[i/8])
	}
	for i := bucket(h.min) / 8; i <= bucket(h.max)/8; i++ {
		bar := strings.Repeat("█", rows[i]*barWidth/top)
		if bar == "" && rows[i] > 0 {
			bar = "▏"
		}
		label := fmt.Sprintf("%8s - %-8s", cli.Duration(1<<i), cli.Duration(1<<(i+1)))
		fmt.Fprintf(w, "%s %s %s\n", s.Dim(label), s.Cyan(fmt.Sprintf("%-*s", barWidth, bar)), cli.Count(rows[i]))
	}
}
