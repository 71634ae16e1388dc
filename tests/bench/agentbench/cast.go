package agentbench

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/cnbus/cnbus/tests/bench/busbench"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// cast is the processes of one experiment.
type cast struct {
	env     *harness.Env
	hosts   []io.Closer // brokers
	guests  []io.Closer // their clients
	sockets int
}

// start runs a role in a process of its own.
func (c *cast) start(ctx context.Context, name string, args, ready any) (*role.Process, error) {
	p, err := role.Start(ctx, name, args, ready)
	if err == nil {
		c.guests = append(c.guests, p)
	}
	return p, err
}

// broker starts our broker and returns the path of its socket.
func (c *cast) broker(ctx context.Context) (string, error) {
	path := c.socket()
	p, err := busbench.StartBroker(ctx, path)
	if err == nil {
		c.hosts = append(c.hosts, p)
	}
	return path, err
}

// nats starts a NATS server and returns its URL.
func (c *cast) nats(ctx context.Context) (string, error) {
	p, url, err := busbench.StartNATS(ctx)
	if err == nil {
		c.hosts = append(c.hosts, p)
	}
	return url, err
}

// socket returns a path for a socket that no other process of the run has.
func (c *cast) socket() string {
	c.sockets++
	return filepath.Join(c.env.Dir, strconv.Itoa(c.sockets))
}

// Close ends all processes, the clients before the brokers.
func (c *cast) Close() error {
	err := errors.Join(closeAll(c.guests), closeAll(c.hosts))
	c.guests, c.hosts = nil, nil
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
