package tstest

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// leaks knows which goroutines and descriptors there were before.
type leaks struct {
	goroutines []goleak.Option
	fds        int
}

func watchLeaks(_ testing.TB, ignore []string) leaks {
	l := leaks{[]goleak.Option{goleak.IgnoreCurrent()}, countFDs()}
	for _, f := range ignore {
		l.goroutines = append(l.goroutines, goleak.IgnoreAnyFunction(f))
	}
	return l
}

// check requires that everything the test made is gone.
func (l leaks) check(t testing.TB, test string) {
	t.Helper()
	err := goleak.Find(l.goroutines...)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); { // Find pauses
		err = goleak.Find(l.goroutines...)
	}
	require.NoError(t, err, "goroutines after "+test)
	var now int
	for end := time.Now().Add(patience); ; {
		if now = countFDs(); now <= l.fds || time.Now().After(end) {
			break
		}
	}
	require.LessOrEqual(t, now, l.fds, "descriptors after "+test)
}

// countFDs returns how many descriptors the process has, 0 where that is not to
// be had.
func countFDs() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}
