package busbench

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// cast is the processes of one experiment.
type cast struct {
	env     *harness.Env
	hosts   []io.Closer // brokers
	sites   []io.Closer // brokers that need another one of hosts: the NATS server
	guests  []io.Closer // their clients
	sockets int
}

func (c *cast) start(ctx context.Context, name string, args, ready any) (*role.Process, error) {
	p, err := role.Start(ctx, name, args, ready)
	if err == nil {
		c.guests = append(c.guests, p)
	}
	return p, err
}

func (c *cast) startHost(ctx context.Context, name string, args, ready any) (*role.Process, error) {
	p, err := role.Start(ctx, name, args, ready)
	if err == nil {
		c.hosts = append(c.hosts, p)
	}
	return p, err
}

// Close ends all processes, the clients before the brokers.
func (c *cast) Close() error {
	err := errors.Join(closeAll(c.guests), closeAll(c.sites), closeAll(c.hosts))
	c.guests, c.sites, c.hosts = nil, nil, nil
	return err
}

// closeAll ends processes that do not need each other to end.
func closeAll(procs []io.Closer) error {
	errs := make([]error, len(procs))
	var wg sync.WaitGroup
	for i, p := range procs {
		wg.Go(func() { errs[i] = p.Close() })
	}
	wg.Wait()
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
	c.sockets++
	return filepath.Join(c.env.Dir, strconv.Itoa(c.sockets))
}

// ours starts our broker.
func (c *cast) ours(ctx context.Context, a brokerArgs) (*host, error) {
	a.Socket = c.socket()
	p, err := c.startHost(ctx, roleBroker, a, nil)
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
		h.proc, err = c.startHost(ctx, roleNATS, nil, &h.Addr)
	case sysRelay:
		h.Addr = c.socket()
		h.proc, err = c.startHost(ctx, roleRelay, h.Addr, nil)
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
