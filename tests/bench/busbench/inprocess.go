package busbench

import (
	"context"
	"runtime"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// inProcessIDs is how many callbacks are registered on either side.
const inProcessIDs = 64

// inProcessArgs ask for one run inside the role's process.
type inProcessArgs struct {
	Ours       bool
	Publishers int
	SameID     bool // all publishers send to one id
	Queued     bool // our callbacks are queued, not run by the publisher
	N          int  // messages of each publisher
}

// inProcessTook is what a run took.
type inProcessTook struct {
	NS     float64 // per message, of all publishers together
	Allocs float64 // per message, rounded down as testing.AllocsPerRun does
}

// inProcessRole holds both sides in one process, so that both run in the same code and memory
// layout.
func inProcessRole(ctx context.Context, p *role.Proc) error {
	ours, err := newLoopbackSide(ctx, false)
	if err != nil {
		return err
	}
	defer ours.close()
	queued, err := newLoopbackSide(ctx, true)
	if err != nil {
		return err
	}
	defer queued.close()
	rival, shared := newLockedSide(false), newLockedSide(true)
	role.Handle(p, opRun, func(ctx context.Context, a inProcessArgs) (inProcessTook, error) {
		switch {
		case a.Ours && a.Queued:
			return inProcessRun(ctx, a, queued)
		case a.Ours:
			return inProcessRun(ctx, a, ours)
		case a.SameID:
			return inProcessRun(ctx, a, shared)
		}
		return inProcessRun(ctx, a, rival)
	})
	return p.Serve(ctx, nil)
}

// side is a table of callbacks to which messages can be published.
type side interface {
	// expect returns a channel that is closed when the callback of id has run n
	// times more. Nothing is on its way then.
	expect(id cbid.ID, n int) <-chan struct{}

	// publisher returns a function that sends n messages to id.
	publisher(ctx context.Context) (func(id cbid.ID, n int) error, error)
}

// inProcessRun publishes from all publishers at once and waits for the last callback.
func inProcessRun(ctx context.Context, a inProcessArgs, s side) (took inProcessTook, err error) {
	publish := make([]func(cbid.ID, int) error, a.Publishers)
	ids := make([]cbid.ID, a.Publishers)
	for i := range publish {
		if publish[i], err = s.publisher(ctx); err != nil {
			return took, err
		}
		ids[i] = inProcessID(7)
		if !a.SameID {
			ids[i] = inProcessID(7 + 29*i)
		}
	}
	var done []<-chan struct{}
	if a.SameID {
		done = append(done, s.expect(ids[0], a.N*a.Publishers))
	} else {
		for _, id := range ids {
			done = append(done, s.expect(id, a.N))
		}
	}
	errs := make(chan error, a.Publishers)
	begin := make(chan struct{})
	for i := range publish {
		go func() {
			<-begin
			errs <- publish[i](ids[i], a.N)
		}()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	close(begin)
	for range publish {
		if err := <-errs; err != nil {
			return took, err
		}
	}
	for _, d := range done {
		select {
		case <-d:
		case <-ctx.Done():
			return took, context.Cause(ctx)
		}
	}
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	total := a.N * a.Publishers
	took.NS = float64(elapsed.Nanoseconds()) / float64(total)
	took.Allocs = float64((after.Mallocs - before.Mallocs) / uint64(total))
	return took, nil
}

func inProcessID(i int) cbid.ID { return cbid.Make(idIdx, uint32(i%inProcessIDs)) }

// inProcessMessage is what either side publishes.
func inProcessMessage(id cbid.ID) connector.Message {
	return connector.Message{ID: id, Seq: 1, Data: make([]byte, 128)}
}

// inProcessMeter measures runs of one shape.
type inProcessMeter struct {
	*cast
	p     *role.Process
	shape inProcessArgs
	rows  int
}

func openInProcess(ctx context.Context, env *harness.Env, rows int, shape inProcessArgs) (harness.Meter, error) {
	c := &cast{env: env}
	p, err := c.start(ctx, roleInProcess, nil, nil)
	if err != nil {
		return nil, err
	}
	shape.N = env.Pick(500_000, 50_000)
	return &inProcessMeter{cast: c, p: p, shape: shape, rows: rows}, nil
}

func (m *inProcessMeter) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	var ns [2][]float64
	var allocs float64
	one := func(ours bool, to *[]float64) func() error {
		return func() error {
			a := m.shape
			a.Ours = ours
			var took inProcessTook
			if err := m.p.Do(ctx, opRun, a, &took); err != nil {
				return err
			}
			*to = append(*to, took.NS)
			if ours {
				allocs = max(allocs, took.Allocs)
			}
			return nil
		}
	}
	if err := harness.Alternate(round, m.env.Pick(20, 2), one(true, &ns[0]), one(false, &ns[1])); err != nil {
		return nil, err
	}
	pairs := []harness.Pair{{Ours: harness.Median(ns[0]), Rival: harness.Median(ns[1])}, {Ours: allocs}}
	return pairs[:m.rows], nil
}

const lockedMap = "lookup in a map under RWMutex, and call"

// inProcess are the rows of one publisher.
func inProcess() harness.Experiment {
	return harness.Experiment{
		Cheap: true,
		Rows: []harness.Row{
			{
				Name: "inprocess", What: "publish to callback in process, one publisher, 64 ids",
				Against: lockedMap, Unit: "ns", Want: 1,
			},
			{
				Name: "inprocess-allocs", What: "the same: allocations for a message",
				Against: "none", Unit: "allocs", Want: 1,
			},
		},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			return openInProcess(ctx, env, 2, inProcessArgs{Publishers: 1})
		},
	}
}

// inProcessQueued is the default kind of callback: the message is copied and queued.
func inProcessQueued() harness.Experiment {
	return harness.Experiment{
		Rows: []harness.Row{
			{Name: "inprocess-queued", What: "the same, callback queued and run in another goroutine (the default)", Against: lockedMap, Unit: "ns"},
			{Name: "inprocess-queued-allocs", What: "the same: allocations for a message", Against: "none", Unit: "allocs"},
		},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			return openInProcess(ctx, env, 2, inProcessArgs{Publishers: 1, Queued: true})
		},
	}
}

// inProcessTwo are two publishers on two cores.
func inProcessTwo(row harness.Row, same bool) harness.Experiment {
	row.Against, row.Unit = lockedMap, "ns"
	return harness.Experiment{
		Cheap: !same,
		Rows:  []harness.Row{row},
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			if runtime.GOMAXPROCS(0) < 2 {
				return nil, &harness.Missing{What: "a second CPU"}
			}
			return openInProcess(ctx, env, 1, inProcessArgs{Publishers: 2, SameID: same})
		},
	}
}
