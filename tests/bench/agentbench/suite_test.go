package agentbench

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The table, by row: the least ratio, higher being better.
var promised = map[string]float64{
	"stream-unix": 0.5,
	"stream-nats": 1,

	"rx-calls-1":      0.4,
	"rx-calls-64":     0.6,
	"rx-bulk-down":    0.5,
	"rx-bulk-up":      0.5,
	"rx-udp-calls-64": 0.9,
	"rx-udp-bulk":     0.9,
	"rx-librx-64":     0.7,
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
