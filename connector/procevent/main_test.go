package procevent

import (
	"os"
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		child()
		return
	}
	testenv.Main(m)
}

// childMark in the environment makes the test binary the child of a test.
const childMark = "CNBUS_PROCEVENT_CHILD"
