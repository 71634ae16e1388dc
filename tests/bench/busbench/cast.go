package busbench

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// cast is the processes of one experiment; they end in reverse order.
type cast struct {
	env     *harness.Env
	members []io.Closer
}

func (c *cast) start(ctx context.Context, name string, args, ready any) (*role.Process, error) {
	p, err := role.Start(ctx, name, args, ready)
	if err != nil {
		return nil, err
	}
	c.members = append(c.members, p)
	return p, nil
}

// Close ends all processes.
func (c *cast) Close() error {
	var errs []error
	for i := len(c.members) - 1; i >= 0; i-- {
		errs = append(errs, c.members[i].Close())
	}
	c.members = nil
	return errors.Join(errs...)
}

// host is a running broker, or what stands in for one.
type host struct {
	place
	proc *role.Process // nil for a program that is not ours to ask
	pid  int
}

// socket returns a path for a socket that no other process of the run has.
func (c *cast) socket() string {
	return filepath.Join(c.env.Dir, strconv.Itoa(len(c.members)))
}

// ours starts our broker.
func (c *cast) ours(ctx context.Context, a brokerArgs) (*host, error) {
	a.Socket = c.socket()
	p, err := c.start(ctx, roleBroker, a, nil)
	if err != nil {
		return nil, err
	}
	return &host{place: place{System: sysBus, Addr: a.Socket}, proc: p, pid: p.PID()}, nil
}

// broker starts the broker of the system.
func (c *cast) broker(ctx context.Context, system string) (*host, error) {
	h := &host{place: place{System: system}}
	var err error
	switch system {
	case sysNATS:
		h.proc, err = c.start(ctx, roleNATS, nil, &h.Addr)
	case sysRelay:
		h.Addr = c.socket()
		h.proc, err = c.start(ctx, roleRelay, h.Addr, nil)
	case sysBus:
		return c.ours(ctx, brokerArgs{})
	case sysDBus:
		return c.dbus(ctx)
	}
	if err != nil {
		return nil, err
	}
	h.pid = h.proc.PID()
	return h, nil
}
