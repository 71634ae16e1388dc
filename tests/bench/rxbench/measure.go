package rxbench

import (
	"os"
	"strconv"
	"strings"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// residentBytes is VmRSS of this process, 0 where that cannot be known.
func residentBytes() int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return n << 10
		}
	}
	return 0
}

// quantiles returns p50 and p99 in microseconds.
func quantiles(ns []int64) (p50, p99 float64) {
	return harness.Quantile(ns, 0.5) / 1e3, harness.Quantile(ns, 0.99) / 1e3
}
