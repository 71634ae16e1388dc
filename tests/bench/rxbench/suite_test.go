package rxbench

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/tests/bench/harness"
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

var promisedSecurity = map[string]float64{
	"bulk-clear-up":   2,
	"bulk-clear-down": 2,
	"bulk-auth-up":    2,
	"bulk-auth-down":  2,
	"bulk-crypt-up":   2,
	"bulk-crypt-down": 2,
	"connections":     2,
	"fcrypt-encrypt":  1.5,
	"fcrypt-decrypt":  1.5,
}

func TestSuitesHaveEachPromisedRow(t *testing.T) {
	hasEach(t, promised, Suite())
	hasEach(t, promisedSecurity, SecuritySuite())
}

func hasEach(t *testing.T, promised map[string]float64, suite harness.Suite) {
	t.Helper()
	got := make(map[string]float64)
	names := make(map[string]int)
	for _, r := range suite.Rows() {
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
