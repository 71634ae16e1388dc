package tsagent_test

import (
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) {
	if child != nil && child() {
		return
	}
	testenv.Main(m)
}

// child runs what this process was started for, if that is not the tests.
var child func() bool
