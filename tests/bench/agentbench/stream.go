package agentbench

import (
	"context"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// The ways from one process to another.
const (
	pathBus  = "bus"
	pathUnix = "unix"
	pathTCP  = "tcp"
	pathNATS = "nats"
)

// pduSize is what a PDU has behind its head.
const pduSize = 1024

// openPath starts two processes with a way between them, and has them use it a little.
func openPath(ctx context.Context, c *cast, path string) (*role.Process, error) {
	a := pathArgs{Path: path}
	var err error
	switch path {
	case pathBus:
		a.Addr, err = c.broker(ctx)
	case pathNATS:
		a.Addr, err = c.nats(ctx)
	case pathUnix:
		a.Addr = c.socket()
	}
	if err != nil {
		return nil, err
	}
	if _, err := c.start(ctx, roleSink, a, &a.Addr); err != nil {
		return nil, err
	}
	p, err := c.start(ctx, roleSource, a, nil)
	if err != nil {
		return nil, err
	}
	for _, op := range []string{opPDUs, opTrips} {
		if err := p.Do(ctx, op, c.env.Time(500*time.Millisecond, 20*time.Millisecond), nil); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// streamPDUs compares how many PDUs a second go one way.
func streamPDUs(row harness.Row, rival string) harness.Experiment {
	row.What, row.Unit, row.Higher = "PDUs of 1 KiB one way between two processes, bus stream", "PDU/s", true
	return streamRow(row, rival, opPDUs)
}

// streamTrips compares how long one PDU takes there and back.
func streamTrips(row harness.Row, rival string) harness.Experiment {
	row.What, row.Unit, row.Higher = "PDUs of 1 KiB there and back between two processes, one at a time, bus stream", "trips/s", true
	return streamRow(row, rival, opTrips)
}

func streamRow(row harness.Row, rival, op string) harness.Experiment {
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			m := &streamMeter{cast: &cast{env: env}, op: op}
			var err error
			if m.rival, err = openPath(ctx, m.cast, rival); err == nil {
				m.ours, err = openPath(ctx, m.cast, pathBus)
			}
			if err != nil {
				_ = m.Close()
				return nil, err
			}
			return m, nil
		},
	}
}

type streamMeter struct {
	*cast
	op          string
	ours, rival *role.Process
}

// Measure runs both ways in turn.
func (m *streamMeter) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	run := func(p *role.Process, sum *moved) func() error {
		return func() error {
			var r moved
			err := p.Do(ctx, m.op, m.env.Time(time.Second, 50*time.Millisecond), &r)
			sum.N += r.N
			sum.Took += r.Took
			return err
		}
	}
	var ours, rival moved
	err := harness.Alternate(round, m.env.Pick(3, 1), run(m.ours, &ours), run(m.rival, &rival))
	return []harness.Pair{{Ours: ours.rate(), Rival: rival.rate()}}, err
}
