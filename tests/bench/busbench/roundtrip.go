package busbench

import (
	"context"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// trips is a requester and an agent in another process, and the samples of
// one round.
type trips struct {
	asker *role.Process
	took  []int64
}

// openTrips starts an agent and a requester of it at a running system, and
// warms them up.
func openTrips(ctx context.Context, c *cast, a echoArgs) (*trips, error) {
	if a.At.System == sysRelay {
		a.Topic = uint32(a.Size) // the relay's topic is the length of its frames
	}
	if _, err := c.start(ctx, roleEcho, a, nil); err != nil {
		return nil, err
	}
	asker, err := c.start(ctx, roleRequester, a, nil)
	if err != nil {
		return nil, err
	}
	t := &trips{asker: asker}
	return t, t.run(ctx, c.env.Pick(2000, 200), 0)
}

// run makes n round trips, fewer if the time is over before.
func (t *trips) run(ctx context.Context, n int, limit time.Duration) error {
	var took []int64
	if err := t.asker.Do(ctx, opRun, tripsArgs{N: n, Time: limit}, &took); err != nil {
		return err
	}
	t.took = append(t.took, took...)
	return nil
}

// quantile returns a quantile of the samples of the round in microseconds.
func (t *trips) quantile(q float64) float64 { return harness.Quantile(t.took, q) / 1e3 }

func (t *trips) reset() { t.took = t.took[:0] }

// tripsPair measures the round trips of two systems in alternation.
type tripsPair struct {
	*cast
	ours, rival *trips
}

func (m *tripsPair) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	m.ours.reset()
	m.rival.reset()
	n := m.env.Pick(1000, 200)
	one := func(t *trips) func() error {
		return func() error { return t.run(ctx, n, 0) }
	}
	if err := harness.Alternate(round, m.env.Pick(10, 2), one(m.ours), one(m.rival)); err != nil {
		return nil, err
	}
	return []harness.Pair{{
		Ours: m.ours.quantile(0.5), Rival: m.rival.quantile(0.5),
		Extra: map[string]float64{
			"p99 us": m.ours.quantile(0.99), "rival p99 us": m.rival.quantile(0.99),
		},
	}}, nil
}

// topicBase keeps the benchmark's ids clear of the well-known ones.
const topicBase = 1000

// roundTrip compares our broker's round trip with a rival's.
func roundTrip(row harness.Row, rival string, size int) harness.Experiment {
	row.Unit = "us"
	row.What = fmt.Sprintf("round trip p50, client to agent to client, %d bytes", size)
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: rival != sysDBus,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			m := &tripsPair{cast: c}
			open := func(system string) (*trips, error) {
				h, err := c.broker(ctx, system)
				if err != nil {
					return nil, err
				}
				return openTrips(ctx, c, echoArgs{At: h.place, Topic: topicBase, Size: size})
			}
			var err error
			if m.rival, err = open(rival); err == nil {
				m.ours, err = open(sysBus)
			}
			if err != nil {
				_ = c.Close()
				return nil, err
			}
			return m, nil
		},
	}
}
