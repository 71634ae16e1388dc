package busbench

import "github.com/cnbus/cnbus/tests/bench/harness"

// Suite is the bus suite. The rows with a wanted ratio are those that the
// project promises; the others inform.
func Suite() harness.Suite {
	return harness.Suite{Name: "bus", Experiments: []harness.Experiment{
		inProcess(),
		inProcessQueued(),
		inProcessTwo(harness.Row{Name: "inprocess-two", What: "publish to callback in process, two publishers on two cores, two ids of 64", Want: 3}, false),
		inProcessTwo(harness.Row{Name: "inprocess-two-same-id", What: "the same, both to one id (ours: one callback at a time)"}, true),
		roundTrip(harness.Row{Name: "roundtrip-nats", Against: "nats-server, nats.go request and reply", Want: 2}, sysNATS, 128),
		roundTrip(harness.Row{Name: "roundtrip-relay", Against: "Go relay of the same bytes over unix sockets, two hops", Want: 1 / 1.1}, sysRelay, 128),
		roundTrip(harness.Row{Name: "roundtrip-dbus", Against: "dbus-daemon, godbus, string"}, sysDBus, 128),
		throughput(harness.Row{Name: "throughput-1to1-128", Want: 6}, 1, 128),
		throughput(harness.Row{Name: "throughput-1to1-1024", Want: 3}, 1, 1024),
		throughput(harness.Row{Name: "throughput-1to8-128", Want: 6}, 8, 128),
		throughput(harness.Row{Name: "throughput-1to8-1024", Want: 2.5}, 8, 1024),
		oneStopped(harness.Row{Name: "stopped-subscriber", Want: 1 / 1.5}),
		underLoad(harness.Row{Name: "latency-under-load", Want: 1, Above: true}),
		atScale(harness.Row{Name: "scale", Want: 1 / 1.2}),
		kernelEvents(),
		memoryPerConn(harness.Row{Name: "memory-per-connection", Want: 4}),
		historyCost(harness.Row{Name: "history-cost", Want: 0.8}),
	}}
}
