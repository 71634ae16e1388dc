package tsbench

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The table, by row: the least ratio, higher being better.
var promised = map[string]float64{
	"pingpong-unix":     1 / 1.05,
	"pingpong-tcp":      1 / 1.05,
	"requests-unix":     2,
	"requests-tcp":      2,
	"callbacks-unix":    2,
	"callbacks-tcp":     2,
	"reactor-unix":      1 / 0.8,
	"reactor-tcp":       1 / 0.8,
	"pdu-owned-unix":    1,
	"pdu-owned-tcp":     1,
	"pdu-borrowed-unix": 1 / 1.1,
	"pdu-borrowed-tcp":  1 / 1.1,
	"udp-receive":       1 / 1.05,
	"udp-receive-batch": 1.2,
	"udp-receive-gro":   5,
	"udp-send-batch":    1.3,
	"udp-send-gso":      10,
	"allocs":            1,
}

func TestSuiteHasEachPromisedRow(t *testing.T) {
	got := make(map[string]float64)
	names := make(map[string]int)
	for _, r := range Suite().Rows() {
		names[r.Name]++
		assert.Equal(t, 1, names[r.Name], "%s is there once", r.Name)
		for what, s := range map[string]string{"name": r.Name, "what": r.What, "against": r.Against, "unit": r.Unit} {
			assert.NotEmpty(t, s, "%s of row %q", what, r.Name)
		}
		if r.Want != 0 {
			got[r.Name] = r.Want
		}
	}
	assert.Equal(t, promised, got)
}

func TestCalibrationIsOfTheLongestAndTheShortestRun(t *testing.T) {
	assert.Equal(t, leastRun, nextRun(took{N: 200, Wall: 1 << 60}, 40e6))
	assert.Equal(t, 8000, nextRun(took{N: 200, Wall: 1e6}, 40e6))
	assert.Positive(t, nextRun(took{N: 1}, 40e6), "a clock that stood still")
}
