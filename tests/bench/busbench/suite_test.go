package busbench

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// The table, by row: the least ratio, higher being better.
var promised = map[string]float64{
	"inprocess":             1,
	"inprocess-allocs":      1,
	"inprocess-two":         3,
	"roundtrip-nats":        2,
	"roundtrip-relay":       1 / 1.1,
	"throughput-1to1-128":   6,
	"throughput-1to1-1024":  3,
	"throughput-1to8-128":   6,
	"throughput-1to8-1024":  2.5,
	"stopped-subscriber":    1 / 1.5,
	"latency-under-load":    1,
	"scale":                 1 / 1.2,
	"events-loss":           1,
	"events-cpu":            1,
	"memory-per-connection": 4,
	"history-cost":          0.8,
}

// promisedHosts is the same of many hosts.
var promisedHosts = map[string]float64{"remote-call": 1 / 1.5, "group-128": 0.8, "local-call-joined": 1 / 1.05}

func TestSuiteHasEachPromisedRow(t *testing.T) {
	checkSuite(t, Suite(), promised)
	checkSuite(t, HostsSuite(), promisedHosts)
}

func checkSuite(t *testing.T, s harness.Suite, promised map[string]float64) {
	t.Helper()
	got := make(map[string]float64)
	names := make(map[string]int)
	for _, r := range s.Rows() {
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
