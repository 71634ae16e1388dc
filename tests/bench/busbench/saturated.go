package busbench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// busy is one system whose broker a publisher saturates while a requester makes
// round trips.
type busy struct {
	trips *trips
	load  *flow
	n     int // messages of one run of the load
}

// run keeps the load up, run after run, and makes round trips meanwhile for the given time.
func (b *busy) run(ctx context.Context, limit time.Duration) error {
	var stop atomic.Bool
	var loadErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		for loadErr == nil && !stop.Load() {
			_, loadErr = b.load.lossless(ctx, b.n)
		}
	})
	err := b.trips.run(ctx, maxTrips, limit)
	stop.Store(true)
	wg.Wait()
	return errors.Join(err, loadErr)
}

// maxTrips bounds the round trips of one run; the time ends it before.
const maxTrips = 200_000

type busyPair struct {
	*cast
	ours, rival *busy
}

// underLoad compares the latency of one message while another client saturates
// the broker: ours, and the same on NATS.
func underLoad(row harness.Row) harness.Experiment {
	row.What = "round trip p99, 128 bytes, while another client saturates the broker"
	row.Against, row.Unit = "nats-server, nats.go, saturated likewise", "us"
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			m := &busyPair{cast: c}
			var err error
			if m.rival, err = openBusy(ctx, c, sysNATS); err == nil {
				m.ours, err = openBusy(ctx, c, sysBus)
			}
			if err != nil {
				_ = c.Close()
				return nil, err
			}
			return m, nil
		},
	}
}

func openBusy(ctx context.Context, c *cast, system string) (*busy, error) {
	h, err := c.broker(ctx, system)
	if err != nil {
		return nil, err
	}
	b := &busy{}
	if b.trips, err = openTrips(ctx, c, echoArgs{At: h.place, Topic: topicBase, Size: 128}); err != nil {
		return nil, err
	}
	if b.load, err = openFlow(ctx, c, flowArgs{At: h.place, Subs: 1, Size: 128}); err != nil {
		return nil, err
	}
	b.n, err = b.load.calibrate(ctx, c.env)
	return b, err
}

func (m *busyPair) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	m.ours.trips.reset()
	m.rival.trips.reset()
	limit := m.env.Time(time.Second, 200*time.Millisecond)
	one := func(b *busy) func() error {
		return func() error { return b.run(ctx, limit) }
	}
	if err := harness.Alternate(round, m.env.Pick(2, 1), one(m.ours), one(m.rival)); err != nil {
		return nil, err
	}
	o, r := m.ours.trips, m.rival.trips
	return []harness.Pair{{
		Ours: o.quantile(0.99), Rival: r.quantile(0.99),
		Extra: map[string]float64{
			"p50 us": o.quantile(0.5), "rival p50 us": r.quantile(0.5),
			"round trips": float64(len(o.took)), "rival round trips": float64(len(r.took)),
		},
	}}, nil
}
