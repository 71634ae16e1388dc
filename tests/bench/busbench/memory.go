package busbench

import (
	"context"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
)

// idleClients is how many clients connect.
const idleClients = 1000

type memory struct{ *cast }

// memoryPerConn compares what an idle connection costs in the memory of the
// broker: the growth of its resident set by 1,000 clients that listen to one
// group each, divided by the connections that they have. The kernel's socket buffers are in neither figure.
func memoryPerConn(row harness.Row) harness.Experiment {
	row.What, row.Against = "memory per idle connection in the broker, of 1,000", "nats-server, nats.go"
	row.Unit = "KiB"
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(_ context.Context, env *harness.Env) (harness.Meter, error) {
			if _, err := residentKiB(selfPID); err != nil {
				return nil, &harness.Missing{What: "/proc, to read resident set sizes"}
			}
			return &memory{&cast{env: env}}, nil
		},
	}
}

func (m *memory) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	var pair harness.Pair
	pair.Extra = make(map[string]float64)
	ours := func() (err error) {
		pair.Ours, pair.Extra["without clients MiB"], err = m.grow(ctx, sysBus)
		return err
	}
	rival := func() (err error) {
		pair.Rival, pair.Extra["rival without clients MiB"], err = m.grow(ctx, sysNATS)
		return err
	}
	if err := harness.Alternate(round, 1, ours, rival); err != nil {
		return nil, err
	}
	return []harness.Pair{pair}, nil
}

// grow starts a broker and connects the crowd. It returns KiB per connection, and
// the MiB before.
func (m *memory) grow(ctx context.Context, system string) (perConn, idle float64, err error) {
	c := &cast{env: m.env}
	defer c.Close()
	h, err := c.broker(ctx, system)
	if err != nil {
		return 0, 0, err
	}
	// The first client makes the broker ready for clients.
	if _, err := c.start(ctx, roleCrowd, crowdArgs{At: h.place, Clients: 1, Group: benchGroup}, nil); err != nil {
		return 0, 0, err
	}
	before, err := settledKiB(ctx, h.pid)
	if err != nil {
		return 0, 0, err
	}
	had, err := openFiles(h.pid)
	if err != nil {
		return 0, 0, err
	}
	if _, err := c.start(ctx, roleCrowd, crowdArgs{At: h.place, Clients: idleClients, Group: benchGroup}, nil); err != nil {
		return 0, 0, err
	}
	after, err := settledKiB(ctx, h.pid)
	if err != nil {
		return 0, 0, err
	}
	has, err := openFiles(h.pid)
	if err != nil {
		return 0, 0, err
	}
	// A client may well have more than one connection.
	conns := has - had
	if conns < idleClients {
		return 0, 0, fmt.Errorf("%s: %d clients have %d connections", system, idleClients, conns)
	}
	if after <= before {
		return 0, 0, fmt.Errorf("%s: the broker did not grow: %.0f KiB before, %.0f KiB after", system, before, after)
	}
	return (after - before) / float64(conns), before / 1024, nil
}

// settledKiB waits until the resident set no longer changes, at most three
// seconds, and returns it.
func settledKiB(ctx context.Context, pid int) (float64, error) {
	const (
		pause  = 50 * time.Millisecond
		steady = 6 // readings
		tries  = 60
		slack  = 32 // KiB
	)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	var last float64
	same := 0
	for range tries {
		now, err := residentKiB(pid)
		if err != nil {
			return 0, err
		}
		if now-last > slack || last-now > slack {
			last, same = now, 0
		} else if same++; same == steady {
			return now, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	return last, nil
}
