package busbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/connector/procevent"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

const eventSubscribers = 10

// events measures a storm of short processes, seen by ten subscribers.
type events struct{ *cast }

// kernelEvents compares ten subscribers through the broker with ten kernel
// subscriptions of their own.
func kernelEvents() harness.Experiment {
	const against = "10 own kernel subscriptions"
	return harness.Experiment{
		Rows: []harness.Row{
			{
				Name: "events-loss", What: "kernel process events to 10 subscribers through the broker: events not delivered, and one",
				Against: against, Unit: "events", Want: 1,
			},
			{
				Name: "events-cpu", What: "the same: processor time of all subscribers and the broker, for each process of the storm",
				Against: against, Unit: "us", Want: 1, Above: true,
			},
		},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c, err := procevent.Dial(ctx, nil)
			if err != nil {
				return nil, &harness.Missing{What: "process events of the kernel: " + err.Error()}
			}
			return &events{&cast{env: env}}, c.Close()
		},
	}
}

func (m *events) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	loss := harness.Pair{Extra: make(map[string]float64)}
	cpu := harness.Pair{Extra: make(map[string]float64)}
	ours := func() error {
		s, err := m.storm(ctx, true)
		loss.Ours, cpu.Ours = s.missing+1, s.cpu
		loss.Extra["reported lost"], cpu.Extra["storm s"] = s.reported, s.took
		return err
	}
	rival := func() error {
		s, err := m.storm(ctx, false)
		loss.Rival, cpu.Rival = s.missing+1, s.cpu
		loss.Extra["rival reported lost"], cpu.Extra["rival storm s"] = s.reported, s.took
		return err
	}
	if err := harness.Alternate(round, 1, ours, rival); err != nil {
		return nil, err
	}
	return []harness.Pair{loss, cpu}, nil
}

// stormSeen is what became of one storm.
type stormSeen struct {
	missing  float64 // events of the storm that did not arrive, of all subscribers
	reported float64 // events reported as lost
	cpu      float64 // us for each process of the storm
	took     float64 // seconds
}

// storm runs one storm. The processes live for it alone: an idle subscription costs the
// kernel as much as a busy one.
func (m *events) storm(ctx context.Context, shared bool) (s stormSeen, err error) {
	c := &cast{env: m.env}
	defer func() { err = errors.Join(err, c.Close()) }()
	var at place
	var paid []*role.Process // those whose processor time counts
	if shared {
		h, err := c.ours(ctx, brokerArgs{Events: true})
		if err != nil {
			return s, err
		}
		at = h.place
		paid = append(paid, h.proc)
	}
	var subs []*role.Process
	for range eventSubscribers {
		p, err := c.start(ctx, roleEvents, at, nil)
		if err != nil {
			return s, err
		}
		subs = append(subs, p)
	}
	paid = append(paid, subs...)
	maker, err := c.start(ctx, roleStorm, nil, nil)
	if err != nil {
		return s, err
	}
	before, err := sumCPU(ctx, paid)
	if err != nil {
		return s, err
	}
	n := m.env.Pick(5000, 300)
	var pids []uint32
	begin := time.Now()
	if err := maker.Do(ctx, opRun, n, &pids); err != nil {
		return s, err
	}
	s.took = time.Since(begin).Seconds()
	for i, p := range subs {
		var r eventsSeen
		if err := p.Do(ctx, opWait, pids, &r); err != nil {
			return s, err
		}
		if r.Events == 0 {
			return s, fmt.Errorf("subscriber %d got no event at all", i+1)
		}
		s.missing += float64(n*len(lifeKinds) - r.Seen)
		s.reported += float64(r.Lost)
	}
	after, err := sumCPU(ctx, paid)
	s.cpu = float64((after - before).Microseconds()) / float64(n)
	return s, err
}

func sumCPU(ctx context.Context, procs []*role.Process) (sum time.Duration, err error) {
	for _, p := range procs {
		d, err := p.CPU(ctx)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}
