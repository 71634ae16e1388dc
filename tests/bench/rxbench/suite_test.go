package rxbench

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What the project promises, by row: the least ratio, higher being better.
var promised = map[string]float64{
	"calls-1":             1,
	"calls-8":             1.5,
	"calls-64":            3,
	"bulk-up":             2,
	"bulk-up-cpu":         1,
	"bulk-down":           2,
	"bulk-down-cpu":       1,
	"bulk-large-up":       1.5,
	"bulk-large-up-cpu":   1,
	"bulk-large-down":     1.5,
	"bulk-large-down-cpu": 1,
	"bulk-10ms":           4,
	"bulk-50ms-loss":      4,
	"memory-idle":         1,
	"concurrent":          1,
	"allocs":              1,
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
