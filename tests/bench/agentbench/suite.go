package agentbench

import (
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tests/bench/rxbench"
)

// Suite is the suite of what goes through the bus. The rows with a wanted ratio are those that the
// project promises; the others inform.
func Suite() harness.Suite {
	return harness.Suite{Name: "agents", Experiments: append([]harness.Experiment{
		streamPDUs(harness.Row{Name: "stream-unix", Against: "unix socket through tsocket", Want: 0.5}, pathUnix),
		streamPDUs(harness.Row{Name: "stream-nats", Against: "nats-server, nats.go publish and subscribe", Want: 1, Above: true}, pathNATS),
		streamTrips(harness.Row{Name: "stream-trips-unix", Against: "unix socket through tsocket"}, pathUnix),
		streamTrips(harness.Row{Name: "stream-trips-nats", Against: "nats-server, nats.go publish and subscribe"}, pathNATS),
		streamTrips(harness.Row{Name: "stream-trips-tcp", Against: "TCP over the loopback interface through tsocket"}, pathTCP),
		rxOverBus(1),
		rxOverBus(64),
	}, rxbench.AgentExperiments()...)}
}

// Roles are the processes that the suite is made of.
var Roles = map[string]role.Func{
	roleSink:   sink,
	roleSource: source,

	roleRxServer: rxServer,
	roleRxClient: rxClient,
}
