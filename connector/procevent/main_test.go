package procevent

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// childMark in the environment makes the test binary the child of a test.
const childMark = "CNBUS_PROCEVENT_CHILD"
