package tsbench

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// meter measures the two sides of a case in alternation.
type meter struct {
	env         *harness.Env
	allocs      bool // and not the processor time; there is no rival
	peer, bench *role.Process
	ours, rival runs
}

// runs are those of one side in one round.
type runs struct {
	n   int // operations of one
	cpu []float64
	sum took
}

func openMeter(ctx context.Context, env *harness.Env, s setting) (harness.Meter, error) {
	m := &meter{env: env, allocs: s.allocs}
	var err error
	socket := filepath.Join(env.Dir, "peer")
	if m.peer, err = role.Start(ctx, rolePeer, peerArgs{Socket: socket, Pin: s.pin}, nil); err != nil {
		return nil, err
	}
	if m.bench, err = role.Start(ctx, roleMeasured, measuredArgs{Peer: socket, Pin: s.pin, Case: s.name}, nil); err == nil {
		err = m.calibrate(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *meter) Close() error {
	var err error
	for _, p := range []*role.Process{m.bench, m.peer} {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// calibrate finds how many operations a run should have.
func (m *meter) calibrate(ctx context.Context) error {
	want := m.env.Time(25*time.Millisecond, 4*time.Millisecond)
	for _, ours := range []bool{true, false} {
		if m.allocs && !ours {
			break
		}
		r := m.runs(ours)
		r.n = leastRun
		for range m.env.Pick(4, 2) {
			t, err := m.run(ctx, ours)
			if err != nil {
				return err
			}
			r.n = nextRun(t, want)
		}
	}
	return nil
}

// leastRun is the least number of operations of a run.
const leastRun = 200

// nextRun is how many operations take the wanted time, after a run that took t.
func nextRun(t took, want time.Duration) int {
	return max(leastRun, int(float64(t.N)*float64(want)/float64(max(t.Wall, 1000))))
}

func (m *meter) runs(ours bool) *runs {
	if ours {
		return &m.ours
	}
	return &m.rival
}

func (m *meter) run(ctx context.Context, ours bool) (took, error) {
	var t took
	err := m.bench.Do(ctx, opRun, runArgs{Ours: ours, N: m.runs(ours).n}, &t)
	return t, err
}

// Measure takes the median of the runs of a round.
func (m *meter) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	one := func(ours bool) func() error {
		r := m.runs(ours)
		r.cpu, r.sum = r.cpu[:0], took{}
		return func() error {
			t, err := m.run(ctx, ours)
			if err != nil {
				return err
			}
			r.cpu = append(r.cpu, float64(t.CPU)/float64(t.N))
			r.sum.N += t.N
			r.sum.Wall += t.Wall
			r.sum.Allocs = max(r.sum.Allocs, t.Allocs/uint64(t.N)) // as testing.AllocsPerRun rounds
			return nil
		}
	}
	rival := one(false)
	if m.allocs {
		rival = nil
	}
	if err := harness.Alternate(round, m.env.Pick(12, 2), one(true), rival); err != nil {
		return nil, err
	}
	if m.allocs {
		return []harness.Pair{{Ours: float64(m.ours.sum.Allocs)}}, nil
	}
	return []harness.Pair{{
		Ours: harness.Median(m.ours.cpu) / 1e3, Rival: harness.Median(m.rival.cpu) / 1e3,
		Extra: map[string]float64{"per second": m.ours.perSecond(), "rival per second": m.rival.perSecond()},
	}}, nil
}

// perSecond is how many operations there were in a second.
func (r *runs) perSecond() float64 { return float64(r.sum.N) / (float64(r.sum.Wall) / 1e9) }
