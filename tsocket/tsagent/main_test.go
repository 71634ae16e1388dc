package tsagent_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if child != nil && child() {
		return
	}
	goleak.VerifyTestMain(m)
}

// child runs what this process was started for, if that is not the tests.
var child func() bool
