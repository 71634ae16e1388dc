package busbench

import (
	"context"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// patience is how long a subscriber waits for the last message of a run.
const patience = time.Minute

// flow is a publisher and its subscribers at one system.
type flow struct {
	pub  *role.Process
	subs []*role.Process
	size int
	next uint64 // number of the next message
}

// flowArgs say what a flow looks like.
type flowArgs struct {
	At    place
	From  *place // of the publisher; nil: At
	Subs  int
	Group uint32 // 0: unicast to the one subscriber
	Size  int
	Lossy bool
}

func openFlow(ctx context.Context, c *cast, a flowArgs) (*flow, error) {
	f := &flow{size: a.Size}
	var to target
	for range a.Subs {
		p, err := c.start(ctx, roleSubscriber, subArgs{At: a.At, Group: a.Group}, &to)
		if err != nil {
			return nil, err
		}
		f.subs = append(f.subs, p)
	}
	to.Lossy = a.Lossy
	from := a.At
	if a.From != nil {
		from = *a.From
	}
	var err error
	f.pub, err = c.start(ctx, rolePublisher, pubArgs{At: from, To: to, Size: a.Size}, nil)
	return f, err
}

// send publishes one run of messages.
func (f *flow) send(ctx context.Context, b burstArgs) (sent, error) {
	var s sent
	b.From = f.next
	f.next += uint64(b.N)
	return s, f.pub.Do(ctx, opRun, b, &s)
}

// reports collects what the given subscribers received of the run.
func (f *flow) reports(ctx context.Context, subs []*role.Process) ([]received, error) {
	all := make([]received, len(subs))
	for i, p := range subs {
		if err := p.Do(ctx, opWait, patience, &all[i]); err != nil {
			return nil, err
		}
		if all[i].Size != f.size || all[i].Malformed > 0 {
			return nil, fmt.Errorf("subscriber %d: messages of %d bytes instead of %d, %d malformed",
				i+1, all[i].Size, f.size, all[i].Malformed)
		}
	}
	return all, nil
}

// lossless publishes n messages as fast as the system takes them, checks that
// every subscriber got each once and in order, and returns the time from the first
// publish to the last delivery.
func (f *flow) lossless(ctx context.Context, n int) (time.Duration, error) {
	s, err := f.send(ctx, burstArgs{N: n})
	if err != nil {
		return 0, err
	}
	got, err := f.reports(ctx, f.subs)
	if err != nil {
		return 0, err
	}
	var last int64
	for i, r := range got {
		if r.Count != uint64(n) || r.Gaps+r.Disorder+r.Lost > 0 {
			return 0, fmt.Errorf("subscriber %d got %d of %d messages: %d missing, %d out of order, %d reported lost",
				i+1, r.Count, n, r.Gaps, r.Disorder, r.Lost)
		}
		last = max(last, r.Last)
	}
	return time.Duration(last - s.First), nil
}

// calibrate finds by short runs how many messages a measured run should have.
func (f *flow) calibrate(ctx context.Context, env *harness.Env) (int, error) {
	n := env.Pick(5000, 1000)
	want := env.Time(500*time.Millisecond, 50*time.Millisecond)
	for range 2 {
		took, err := f.lossless(ctx, n)
		if err != nil {
			return 0, err
		}
		n = max(1000, int(float64(n)*float64(want)/float64(max(took, time.Millisecond))))
	}
	return n, nil
}

// rate is the messages per second of several runs of one flow.
type rate struct {
	flow *flow
	n    int // messages of one run
	sent int
	took time.Duration
}

func (r *rate) run(ctx context.Context) func() error {
	return func() error {
		d, err := r.flow.lossless(ctx, r.n)
		r.sent += r.n
		r.took += d
		return err
	}
}

func (r *rate) perSecond() float64 { return float64(r.sent) / r.took.Seconds() }

// ratePair measures the throughput of two flows in alternation.
type ratePair struct {
	*cast
	ours, rival *rate
}

func (m *ratePair) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	for _, r := range []*rate{m.ours, m.rival} {
		r.sent, r.took = 0, 0
	}
	if err := harness.Alternate(round, m.env.Pick(3, 1), m.ours.run(ctx), m.rival.run(ctx)); err != nil {
		return nil, err
	}
	return []harness.Pair{{Ours: m.ours.perSecond(), Rival: m.rival.perSecond()}}, nil
}

// openRate starts a flow at a system and finds how much to send.
func openRate(ctx context.Context, c *cast, a flowArgs) (*rate, error) {
	f, err := openFlow(ctx, c, a)
	if err != nil {
		return nil, err
	}
	n, err := f.calibrate(ctx, c.env)
	return &rate{flow: f, n: n}, err
}

// throughput compares our throughput with that of NATS: all messages
// delivered, in order.
func throughput(row harness.Row, subs, size int) harness.Experiment {
	row.Unit, row.Higher = "msg/s", true
	row.What = fmt.Sprintf("throughput 1 to %d, lossless, %d bytes", subs, size)
	row.Against = "nats-server, nats.go"
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: subs == 1 && size == 128,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			c := &cast{env: env}
			m := &ratePair{cast: c}
			open := func(system string) (*rate, error) {
				h, err := c.broker(ctx, system)
				if err != nil {
					return nil, err
				}
				a := flowArgs{At: h.place, Subs: subs, Size: size}
				if subs > 1 {
					a.Group = benchGroup
				}
				return openRate(ctx, c, a)
			}
			var err error
			if m.rival, err = open(sysNATS); err == nil {
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
