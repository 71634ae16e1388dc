package rxbench

import (
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// Suite is the RxRPC suite. The rows with a wanted ratio are those that the
// project promises; the others inform.
func Suite() harness.Suite {
	const (
		plain = "one call, packets for 1500 bytes of MTU"
		large = "one call, the largest packets that each allows"
	)
	return harness.Suite{Name: "rxrpc", Experiments: []harness.Experiment{
		callsPerSecond(harness.Row{Want: 1}, 1),
		callsPerSecond(harness.Row{Want: 1.5}, 8),
		callsPerSecond(harness.Row{Want: 3}, 64),
		bulk("bulk-up", plain, endArgs{}, true, 2, 1),
		bulk("bulk-down", plain, endArgs{}, false, 2, 1),
		bulk("bulk-large-up", large, endArgs{Large: true}, true, 1.5, 1),
		bulk("bulk-large-down", large, endArgs{Large: true}, false, 1.5, 1),
		wan(harness.Row{Name: "bulk-10ms", What: "one call, server to client, round trip of 10 ms", Want: 4}, 10*time.Millisecond, 0, 20*mb, mb),
		wan(harness.Row{Name: "bulk-50ms-loss", What: "one call, server to client, round trip of 50 ms, 1 % lost each way", Want: 4}, 50*time.Millisecond, 0.01, mb, mb/10),
		idleMemory(),
		manyCalls(),
		allocs(),
	}}
}
