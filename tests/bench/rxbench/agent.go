package rxbench

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// The ids to which datagrams are sent on a loopback bus, and word of room for those of the engine.
var (
	busUDPSink = cbid.ID{Idx: cbid.TSocket.Idx, Val: 2}
	busUDPRoom = cbid.ID{Idx: cbid.TSocket.Idx, Val: 3}
)

// AgentExperiments are about RxRPC through the agent of a broker, for the suite of agents.
func AgentExperiments() []harness.Experiment {
	const direct = "the same with an endpoint of the client's own"
	client := func(broker string) (server, client endArgs) {
		return endArgs{}, endArgs{Broker: broker}
	}
	return []harness.Experiment{
		agentCalls(harness.Row{Name: "rx-calls-1", Against: direct, Want: 0.4}, 1, client),
		agentCalls(harness.Row{Name: "rx-calls-64", Against: direct, Want: 0.6}, 64, client),
		agentBulk(harness.Row{Name: "rx-bulk-down", Against: direct, Want: 0.5}, false, client),
		agentBulk(harness.Row{Name: "rx-bulk-up", Against: direct, Want: 0.5}, true, client),
		agentCalls(harness.Row{Name: "rx-udp-calls-64", What: "calls of 4 bytes, endpoints with UDP from the bus, callers: 64", Against: "endpoints with UDP sockets of their own", Want: 0.9}, 64,
			func(string) (server, client endArgs) { return endArgs{BusUDP: true}, endArgs{BusUDP: true} }),
		agentBulk(harness.Row{Name: "rx-udp-bulk", What: "one call with much data, endpoints with UDP from the bus", Against: "endpoints with UDP sockets of their own", Want: 0.9}, false,
			func(string) (server, client endArgs) { return endArgs{BusUDP: true}, endArgs{BusUDP: true} }),
		agentLibrx(),
	}
}

// openBroker starts a broker with the agent, and returns it and its socket.
func openBroker(ctx context.Context, c *cast) (*role.Process, string, error) {
	socket := filepath.Join(c.env.Dir, fmt.Sprintf("rx%d", len(c.procs)))
	p, err := c.start(ctx, roleBroker, brokerArgs{Socket: socket}, nil)
	return p, socket, err
}

// openEnds starts a server and a client of ours.
func openEnds(ctx context.Context, c *cast, server, client endArgs) (*ours, error) {
	o := &ours{}
	var err error
	if o.server, err = c.start(ctx, roleServer, server, &client.Peer); err == nil {
		o.client, err = c.start(ctx, roleClient, client, nil)
	}
	return o, err
}

// openAgentDuel starts ours through the broker and ours without.
func openAgentDuel(ctx context.Context, env *harness.Env, ends func(broker string) (server, client endArgs), more endArgs, warm func(side) error) (*duel, error) {
	d := &duel{cast: &cast{env: env}}
	broker, socket, err := openBroker(ctx, d.cast)
	if err == nil {
		d.rival, err = openEnds(ctx, d.cast, more, more)
	}
	if err == nil {
		s, c := ends(socket)
		s.Calls, c.Calls = more.Calls, more.Calls
		d.mine, err = openEnds(ctx, d.cast, s, c)
		d.mine.broker = broker
	}
	for _, s := range []side{d.rival, d.mine} {
		if err == nil {
			err = warm(s)
		}
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

// agentCalls compares short calls.
func agentCalls(row harness.Row, callers int, ends func(broker string) (server, client endArgs)) harness.Experiment {
	if row.What == "" {
		row.What = fmt.Sprintf("calls of 4 bytes through the broker from another process, callers: %d", callers)
	}
	row.Unit, row.Higher = "calls/s", true
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, d time.Duration) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.calls(ctx, callers, d) }
			}
			d, err := openAgentDuel(ctx, env, ends, endArgs{Calls: true}, func(s side) error {
				_, err := run(ctx, env.Time(time.Second, 100*time.Millisecond))(s)
				return err
			})
			if err != nil {
				return nil, err
			}
			return d.callsMeter(env, run), nil
		},
	}
}

// callsMeter measures short calls on both sides.
func (d *duel) callsMeter(env *harness.Env, run func(ctx context.Context, d time.Duration) func(side) (figures, error)) harness.Meter {
	return meterFunc{d.cast, func(ctx context.Context, round int) ([]harness.Pair, error) {
		mine, rival, err := d.both(round, env.Pick(2, 1), run(ctx, env.Time(time.Second, 100*time.Millisecond)))
		return []harness.Pair{{Ours: mine.rate(), Rival: rival.rate(), Extra: map[string]float64{
			"p50 us": mine.p50, "p99 us": mine.p99, "rival p50 us": rival.p50, "rival p99 us": rival.p99,
			"cpu us": mine.perItem(), "rival cpu us": rival.perItem(),
		}}}, err
	}}
}

// agentBulk compares one call with much data.
func agentBulk(row harness.Row, up bool, ends func(broker string) (server, client endArgs)) harness.Experiment {
	if row.What == "" {
		direction := "server to client"
		if up {
			direction = "client to server"
		}
		row.What = "one call with much data through the broker, " + direction
	}
	row.Unit, row.Higher = "MB/s", true
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, bytes uint64) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.bulk(ctx, up, bytes) }
			}
			d, err := openAgentDuel(ctx, env, ends, endArgs{}, func(s side) error {
				_, err := run(ctx, uint64(env.Pick(20*mb, mb)))(s)
				return err
			})
			if err != nil {
				return nil, err
			}
			return meterFunc{d.cast, func(ctx context.Context, round int) ([]harness.Pair, error) {
				mine, rival, err := d.both(round, env.Pick(2, 1), run(ctx, uint64(env.Pick(100*mb, 4*mb))))
				return []harness.Pair{{Ours: mine.rate() / mb, Rival: rival.rate() / mb, Extra: map[string]float64{
					"cpu us/MB": mine.perItem() * mb, "rival cpu us/MB": rival.perItem() * mb,
				}}}, err
			}}, nil
		},
	}
}

// agentLibrx compares our client and our server, both of them behind the broker, with the C peers.
func agentLibrx() harness.Experiment {
	const callers = 64
	row := harness.Row{
		Name: "rx-librx-64", What: "calls of 4 bytes, client and server both through the broker, callers: 64", Against: peers,
		Unit: "calls/s", Higher: true, Want: 0.7,
	}
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, d time.Duration) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.calls(ctx, callers, d) }
			}
			d := &duel{cast: &cast{env: env}}
			var err error
			if d.rival, err = openRival(ctx, d.cast, endArgs{Calls: true}, nil); err == nil {
				var broker *role.Process
				var socket string
				if broker, socket, err = openBroker(ctx, d.cast); err == nil {
					a := endArgs{Calls: true, Broker: socket}
					d.mine, err = openEnds(ctx, d.cast, a, a)
					d.mine.broker = broker
				}
			}
			for _, s := range []side{d.rival, d.mine} {
				if err == nil {
					_, err = run(ctx, env.Time(time.Second, 100*time.Millisecond))(s)
				}
			}
			if err != nil {
				_ = d.Close()
				return nil, err
			}
			return d.callsMeter(env, run), nil
		},
	}
}
