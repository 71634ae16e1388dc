package rxagent_test

import (
	"os"
	"testing"

	"github.com/cnbus/cnbus/internal/testenv"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childMark); path != "" {
		child(path)
		return
	}
	testenv.Main(m)
}

// childMark in the environment makes the test binary a broker with an agent, on that socket.
const childMark = "CNBUS_RXAGENT_CHILD"
