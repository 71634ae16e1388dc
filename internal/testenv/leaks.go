package testenv

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// leakPatience is how long goroutines that have been told to end may take, on a machine with other things to do.
// goleak by itself looks for half a second.
const leakPatience = time.Minute

// Main runs the tests of a package, for its TestMain, and fails when they leave goroutines behind.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := leaks(leakPatience); err != nil {
			fmt.Fprintf(os.Stderr, "all tests passed, but: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// NoLeaks fails the test when goroutines are left that the options of goleak do not except.
func NoLeaks(t testing.TB, opts ...goleak.Option) {
	t.Helper()
	if err := leaks(leakPatience, opts...); err != nil {
		t.Error(err)
	}
}

func leaks(patience time.Duration, opts ...goleak.Option) error {
	for end := time.Now().Add(patience); ; {
		err := goleak.Find(opts...) // which pauses
		if err == nil || !time.Now().Before(end) {
			return err
		}
	}
}
