package rxbench

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// cast is the processes of one experiment.
type cast struct {
	env   *harness.Env
	procs []io.Closer
}

// Close ends the processes, clients before servers.
func (c *cast) Close() error {
	var errs []error
	for _, p := range slices.Backward(c.procs) {
		errs = append(errs, p.Close())
	}
	c.procs = nil
	return errors.Join(errs...)
}

func (c *cast) start(ctx context.Context, name string, args, ready any) (*role.Process, error) {
	p, err := role.Start(ctx, name, args, ready)
	if err == nil {
		c.procs = append(c.procs, p)
	}
	return p, err
}

// side is a client and a server of one make.
type side interface {
	// calls makes short calls for a while.
	calls(ctx context.Context, callers int, d time.Duration) (figures, error)
	// fresh is calls with a connection for each.
	fresh(ctx context.Context, callers int, d time.Duration) (figures, error)
	// bulk moves bytes in one call.
	bulk(ctx context.Context, up bool, bytes uint64) (figures, error)
}

// figures are what one run gave: calls or bytes, in how long, with how much
// processor time of client and server.
type figures struct {
	n        float64
	took     time.Duration
	cpu      time.Duration
	p50, p99 float64 // us, of calls
}

func (f figures) rate() float64 { return f.n / f.took.Seconds() }

// perItem is how much processor time a call took, or a byte, in microseconds.
func (f figures) perItem() float64 { return float64(f.cpu.Microseconds()) / f.n }

// ours is our side.
type ours struct {
	server, client *role.Process
	broker         *role.Process // that is between them; nil: none
}

// openOurs starts our server and a client of it; through, if it is set, stands between
// them.
func openOurs(ctx context.Context, c *cast, a endArgs, through func(netip.AddrPort) (netip.AddrPort, error)) (*ours, error) {
	o := &ours{}
	var addr netip.AddrPort
	var err error
	if o.server, err = c.start(ctx, roleServer, a, &addr); err != nil {
		return nil, err
	}
	if through != nil {
		if addr, err = through(addr); err != nil {
			return nil, err
		}
	}
	a.Peer = addr
	if o.client, err = c.start(ctx, roleClient, a, nil); err != nil {
		return nil, err
	}
	return o, nil
}

// cpu is the processor time of the processes until now.
func (o *ours) cpu(ctx context.Context) (sum time.Duration, err error) {
	for _, p := range []*role.Process{o.server, o.client, o.broker} {
		if p == nil {
			continue
		}
		used, err := p.CPU(ctx)
		if err != nil {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

func (o *ours) run(ctx context.Context, op string, args, result any) (time.Duration, error) {
	before, err := o.cpu(ctx)
	if err != nil {
		return 0, err
	}
	if err := o.client.Do(ctx, op, args, result); err != nil {
		return 0, err
	}
	after, err := o.cpu(ctx)
	return after - before, err
}

func (o *ours) calls(ctx context.Context, callers int, d time.Duration) (figures, error) {
	return o.short(ctx, opCalls, callers, d)
}

func (o *ours) fresh(ctx context.Context, callers int, d time.Duration) (figures, error) {
	return o.short(ctx, opFresh, callers, d)
}

func (o *ours) short(ctx context.Context, op string, callers int, d time.Duration) (figures, error) {
	var r callsResult
	cpu, err := o.run(ctx, op, callsArgs{Callers: callers, Time: d}, &r)
	return figures{n: float64(r.Calls), took: r.Took, cpu: cpu, p50: r.P50, p99: r.P99}, err
}

func (o *ours) bulk(ctx context.Context, up bool, bytes uint64) (figures, error) {
	var r bulkResult
	cpu, err := o.run(ctx, opBulk, bulkArgs{Up: up, Bytes: bytes}, &r)
	return figures{n: float64(bytes), took: r.Took, cpu: cpu}, err
}
