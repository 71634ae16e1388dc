package rxbench

import "github.com/cnbus/cnbus/tests/bench/harness"

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
		idleMemory(),
		manyCalls(),
		allocs(),
	}}
}
