package rxbench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

const mb = 1e6

// duel is both sides.
type duel struct {
	*cast
	mine  *ours
	rival side
}

// openDuel starts both sides and lets each move a little.
func openDuel(ctx context.Context, env *harness.Env, a endArgs, warm func(side) error) (*duel, error) {
	return openDuelIn(ctx, &cast{env: env}, a, nil, warm)
}

// openDuelIn is openDuel with a cast that is there already, and with something between
// client and server.
func openDuelIn(ctx context.Context, c *cast, a endArgs, through func(netip.AddrPort) (netip.AddrPort, error), warm func(side) error) (*duel, error) {
	d := &duel{cast: c}
	var err error
	if d.rival, err = openRival(ctx, d.cast, a, through); err == nil {
		d.mine, err = openOurs(ctx, d.cast, a, through)
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

// meterFunc measures with a cast.
type meterFunc struct {
	*cast
	measure func(ctx context.Context, round int) ([]harness.Pair, error)
}

func (m meterFunc) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	return m.measure(ctx, round)
}

// both runs one thing on both sides, n times in turn, and returns the sums.
func (d *duel) both(round, n int, run func(side) (figures, error)) (mine, rival figures, err error) {
	add := func(sum *figures, s side) func() error {
		return func() error {
			f, err := run(s)
			sum.n += f.n
			sum.took += f.took
			sum.cpu += f.cpu
			sum.p50 += f.p50 / float64(n)
			sum.p99 += f.p99 / float64(n)
			return err
		}
	}
	err = harness.Alternate(round, n, add(&mine, d.mine), add(&rival, d.rival))
	return mine, rival, err
}

const peers = "OpenAFS librx, C client to C server"

// callsPerSecond compares short calls.
func callsPerSecond(row harness.Row, callers int) harness.Experiment {
	row.Name = fmt.Sprintf("calls-%d", callers)
	row.What = fmt.Sprintf("calls of 4 bytes with replies of 4, callers: %d", callers)
	row.Against, row.Unit, row.Higher = peers, "calls/s", true
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, d time.Duration) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.calls(ctx, callers, d) }
			}
			d, err := openDuel(ctx, env, endArgs{Calls: true}, func(s side) error {
				_, err := run(ctx, env.Time(time.Second, 100*time.Millisecond))(s)
				return err
			})
			if err != nil {
				return nil, err
			}
			return meterFunc{d.cast, func(ctx context.Context, round int) ([]harness.Pair, error) {
				mine, rival, err := d.both(round, env.Pick(2, 1), run(ctx, env.Time(time.Second, 100*time.Millisecond)))
				return []harness.Pair{{Ours: mine.rate(), Rival: rival.rate(), Extra: map[string]float64{
					"p50 us": mine.p50, "p99 us": mine.p99, "rival p50 us": rival.p50, "rival p99 us": rival.p99,
					"cpu us per call": mine.cpu.Seconds() * 1e6 / mine.n, "rival cpu us per call": rival.cpu.Seconds() * 1e6 / rival.n,
				}}}, err
			}}, nil
		},
	}
}

// bulk compares one call with much data: its speed and the processor time of both
// ends.
func bulk(name, what string, a endArgs, up bool, want, wantCPU float64) harness.Experiment {
	direction := "server to client"
	if up {
		direction = "client to server"
	}
	rate := harness.Row{Name: name, What: what + ", " + direction, Against: peers, Unit: "MB/s", Higher: true, Want: want}
	cpu := harness.Row{Name: name + "-cpu", What: "processor time of both ends for that", Against: peers, Unit: "ms/MB", Want: wantCPU, Above: wantCPU == 1}
	return harness.Experiment{
		Rows:  []harness.Row{rate, cpu},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			run := func(ctx context.Context, bytes uint64) func(side) (figures, error) {
				return func(s side) (figures, error) { return s.bulk(ctx, up, bytes) }
			}
			d, err := openDuel(ctx, env, a, func(s side) error {
				_, err := run(ctx, uint64(env.Pick(20*mb, mb)))(s)
				return err
			})
			if err != nil {
				return nil, err
			}
			return meterFunc{d.cast, func(ctx context.Context, round int) ([]harness.Pair, error) {
				mine, rival, err := d.both(round, env.Pick(2, 1), run(ctx, uint64(env.Pick(100*mb, 4*mb))))
				perMB := func(f figures) float64 { return f.cpu.Seconds() * 1e3 / (f.n / mb) }
				return []harness.Pair{{Ours: mine.rate() / mb, Rival: rival.rate() / mb}, {Ours: perMB(mine), Rival: perMB(rival)}}, err
			}}, nil
		},
	}
}

// idleMemory is what a connection without calls costs at the server.
func idleMemory() harness.Experiment {
	row := harness.Row{Name: "memory-idle", What: "memory of the server per idle connection", Against: "4 KiB", Unit: "KiB", Want: 1}
	return alone(row, endArgs{Open: 1 << 16, Calls: true}, func(ctx context.Context, env *harness.Env, o *ours) (harness.Pair, error) {
		n := env.Pick(10_000, 500)
		var before, after memory
		if err := o.server.Do(ctx, opMemory, nil, &before); err != nil {
			return harness.Pair{}, err
		}
		if err := o.client.Do(ctx, opIdle, n, nil); err != nil {
			return harness.Pair{}, err
		}
		if err := o.server.Do(ctx, opMemory, nil, &after); err != nil {
			return harness.Pair{}, err
		}
		return harness.Pair{
			Ours: max((after.Heap-before.Heap)/float64(n)/1024, 0.01), Rival: 4,
			Extra: map[string]float64{"resident KiB": (after.RSS - before.RSS) / float64(n) / 1024},
		}, nil
	})
}

// manyCalls has 10,000 calls in progress: each is answered when all are there.
func manyCalls() harness.Experiment {
	row := harness.Row{Name: "concurrent", What: "calls in progress at a time, of one process, that come to their end", Against: "10,000 asked for", Unit: "calls", Higher: true, Want: 1}
	return alone(row, endArgs{Open: 1 << 15}, func(ctx context.Context, env *harness.Env, o *ours) (harness.Pair, error) {
		n := env.Pick(10_000, 1000)
		var done int
		start := time.Now()
		if err := o.client.Do(ctx, opMany, n, &done); err != nil {
			return harness.Pair{}, err
		}
		return harness.Pair{Ours: float64(done), Rival: float64(n), Extra: map[string]float64{"s": time.Since(start).Seconds()}}, nil
	})
}

// allocs is what the receiver of much data allocates, in hundredths: what is left of the call
// itself, and of pools that the collector has emptied, is no part of a packet.
func allocs() harness.Experiment {
	row := harness.Row{Name: "allocs", What: "allocations of a process per received DATA packet, much data", Against: "none", Unit: "allocs", Want: 1}
	return alone(row, endArgs{}, func(ctx context.Context, env *harness.Env, o *ours) (harness.Pair, error) {
		var r bulkResult
		for range 2 {
			if err := o.client.Do(ctx, opBulk, bulkArgs{Bytes: uint64(env.Pick(100*mb, 20*mb))}, &r); err != nil {
				return harness.Pair{}, err
			}
		}
		per := float64(r.Allocs) / float64(max(r.Packets, 1))
		return harness.Pair{Ours: float64(int(per*100)) / 100, Rival: 0, Extra: map[string]float64{"per 1000 packets": per * 1000}}, nil
	})
}

// alone is an experiment without another program. Each round has processes of its own.
func alone(row harness.Row, a endArgs, measure func(context.Context, *harness.Env, *ours) (harness.Pair, error)) harness.Experiment {
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(_ context.Context, env *harness.Env) (harness.Meter, error) {
			return meterFunc{&cast{env: env}, func(ctx context.Context, _ int) ([]harness.Pair, error) {
				c := &cast{env: env}
				defer c.Close()
				o, err := openOurs(ctx, c, a, nil)
				if err != nil {
					return nil, err
				}
				p, err := measure(ctx, env, o)
				return []harness.Pair{p}, err
			}}, nil
		},
	}
}

// freePort finds a UDP port that nobody has.
func freePort() (netip.AddrPort, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort(), nil
}
