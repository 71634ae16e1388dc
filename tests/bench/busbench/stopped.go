package busbench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// What is sent in the row of the stopped subscriber: a message each
// millisecond, and before that enough to fill what can be queued for one
// client, in pieces that those who read have before the next one comes: they lose nothing.
const (
	stoppedSubs  = 8
	stoppedPace  = time.Millisecond
	fillMessages = 30_000
	fillPiece    = 1000
	fillBurst    = 100
	fillPace     = 5 * time.Millisecond

	// catchUp is how long the stopped one may take to the last message of a run before another is sent.
	catchUp = 200 * time.Millisecond
)

// stopped measures how long messages of a group take to those who read,
// while another member does not.
type stopped struct {
	*cast
	flow *flow
	lost uint64 // of the stopped one, in this round
}

// oneStopped compares the latency of a group while one member is stopped with that
// while all read.
func oneStopped(row harness.Row) harness.Experiment {
	row.What = "p99 from publish to delivery, to 7 subscribers, while the 8th is stopped"
	row.Against, row.Unit = "all 8 reading", "us"
	return harness.Experiment{
		Rows: []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			h, err := c.broker(ctx, sysBus)
			var f *flow
			if err == nil {
				f, err = openFlow(ctx, c, flowArgs{At: h.place, Subs: stoppedSubs, Group: benchGroup, Size: 128, Lossy: true})
			}
			if err != nil {
				_ = c.Close()
				return nil, err
			}
			return &stopped{cast: c, flow: f}, nil
		},
	}
}

func (m *stopped) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	var with, without []int64
	m.lost = 0
	n := m.env.Pick(1500, 150)
	unloaded := func() error {
		took, err := m.paced(ctx, n, m.flow.subs)
		// The same seven as while the eighth is stopped.
		for _, t := range took[:min(len(took), len(m.flow.subs)-1)] {
			without = append(without, t...)
		}
		return err
	}
	loaded := func() error {
		took, err := m.whileStopped(ctx, n)
		for _, t := range took {
			with = append(with, t...)
		}
		return err
	}
	if err := harness.Alternate(round, m.env.Pick(2, 1), loaded, unloaded); err != nil {
		return nil, err
	}
	return []harness.Pair{{
		Ours: harness.Quantile(with, 0.99) / 1e3, Rival: harness.Quantile(without, 0.99) / 1e3,
		Extra: map[string]float64{
			"p50 us": harness.Quantile(with, 0.5) / 1e3, "all reading p50 us": harness.Quantile(without, 0.5) / 1e3,
			"lost by the stopped one": float64(m.lost),
		},
	}}, nil
}

// paced sends n timed messages at the pace and returns what each reader saw.
// No reader may lose one.
func (m *stopped) paced(ctx context.Context, n int, readers []*role.Process) ([][]int64, error) {
	if _, err := m.flow.send(ctx, burstArgs{N: n, Burst: 1, Pace: stoppedPace, Timed: true}); err != nil {
		return nil, err
	}
	got, err := m.read(ctx, n, readers)
	if err != nil {
		return nil, err
	}
	took := make([][]int64, len(got))
	for i, r := range got {
		took[i] = r.Took
	}
	return took, nil
}

// read waits until all readers have the last n messages.
func (m *stopped) read(ctx context.Context, n int, readers []*role.Process) ([]received, error) {
	got, err := m.flow.reports(ctx, readers)
	for i, r := range got {
		if err == nil && (r.Lost+r.Gaps+r.Disorder > 0 || r.Count != uint64(n)) {
			err = fmt.Errorf("reader %d lost messages while it read: %d of %d, %d reported lost", i+1, r.Count, n, r.Lost)
		}
	}
	return got, err
}

// whileStopped stops the last subscriber, fills its queue, measures the others, and
// then checks that the stopped one is told of every message that it lost.
func (m *stopped) whileStopped(ctx context.Context, n int) (took [][]int64, err error) {
	readers := m.flow.subs[:len(m.flow.subs)-1]
	sleeper := m.flow.subs[len(readers)]
	from := m.flow.next
	if err := sleeper.Signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	resume := func() error { return sleeper.Signal(syscall.SIGCONT) }
	defer func() { err = errors.Join(err, resume()) }()

	fill := m.env.Pick(fillMessages, fillMessages/2)
	for range fill / fillPiece {
		if _, err := m.flow.send(ctx, burstArgs{N: fillPiece, Burst: fillBurst, Pace: fillPace}); err != nil {
			return nil, err
		}
		if _, err := m.read(ctx, fillPiece, readers); err != nil {
			return nil, fmt.Errorf("of %d messages: %w", fill, err)
		}
	}
	if took, err = m.paced(ctx, n, readers); err != nil {
		return nil, fmt.Errorf("behind %d messages: %w", fill, err)
	}
	if err := resume(); err != nil {
		return nil, err
	}
	return took, m.account(ctx, sleeper, readers, from)
}

// account reads what the one that was stopped reports, and sends single messages when it says nothing, until it has received, or
// was told to have lost, every message since from. The numbers in the messages must agree.
func (m *stopped) account(ctx context.Context, sleeper *role.Process, readers []*role.Process, from uint64) error {
	var sum received
	for sum.Count+sum.Lost < m.flow.next-from {
		var r *received
		if err := sleeper.Do(ctx, opPoll, catchUp, &r); err != nil {
			return err
		}
		if r == nil { // while it is still full the last message of a run is one of the lost
			if _, err := m.flow.send(ctx, burstArgs{N: 1}); err != nil {
				return err
			}
			if _, err := m.flow.reports(ctx, readers); err != nil {
				return err
			}
			continue
		}
		sum.Count += r.Count
		sum.Lost += r.Lost
		if r.Lost != r.Gaps {
			return fmt.Errorf("the stopped subscriber was told of %d lost messages, %d are missing by number", r.Lost, r.Gaps)
		}
	}
	if want := m.flow.next - from; sum.Count+sum.Lost != want {
		return fmt.Errorf("the stopped subscriber received %d and lost %d of %d messages", sum.Count, sum.Lost, want)
	}
	if sum.Lost == 0 {
		return errors.New("the stopped subscriber was never full")
	}
	m.lost += sum.Lost
	return nil
}
