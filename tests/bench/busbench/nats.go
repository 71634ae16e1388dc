package busbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/cnbus/cnbus/tests/bench/role"
)

// natsStart is how long the server may take to listen.
const natsStart = patience

// natsWrite is how long a client may take to read before it counts as dead.
const natsWrite = time.Minute

// natsServer is the role of a NATS server on a TCP port of the loopback
// interface. What it would drop for a slow subscriber is raised beyond what a
// run sends, so that both sides deliver everything.
func natsServer(ctx context.Context, p *role.Proc) error {
	return serveNATS(ctx, p, natsOptions())
}

func serveNATS(ctx context.Context, p *role.Proc, o *server.Options) error {
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(natsStart) {
		return errors.New("nats server does not listen")
	}
	return p.Serve(ctx, s.ClientURL())
}

type natsConn struct {
	nc *nats.Conn
}

func dialNATS(_ context.Context, addr string) (conn, error) {
	nc, err := nats.Connect(addr, nats.NoReconnect(), nats.Timeout(patience))
	if err != nil {
		return nil, err
	}
	return &natsConn{nc: nc}, nil
}

func topicSubject(topic uint32) string { return fmt.Sprintf("topic.%d", topic) }

func subject(to target) string {
	if to.Group != 0 {
		return fmt.Sprintf("group.%d", to.Group)
	}
	return fmt.Sprintf("port.%d", to.Port)
}

func (c *natsConn) echo(_ context.Context, topic uint32) error {
	_, err := c.nc.Subscribe(topicSubject(topic), func(m *nats.Msg) { _ = m.Respond(m.Data) })
	if err != nil {
		return err
	}
	return c.nc.Flush()
}

func (c *natsConn) caller(_ context.Context, topic uint32) (func(context.Context, []byte) (int, error), error) {
	s := topicSubject(topic)
	return func(_ context.Context, payload []byte) (int, error) {
		m, err := c.nc.Request(s, payload, 30*time.Second)
		if err != nil {
			return 0, err
		}
		return len(m.Data), nil
	}, nil
}

func (c *natsConn) subscribe(_ context.Context, group uint32, on func([]byte), _ func(uint64)) (target, error) {
	to := target{Group: group}
	if group == 0 {
		id, err := c.nc.GetClientID()
		if err != nil {
			return to, err
		}
		to.Port = uint32(id)
	}
	sub, err := c.nc.Subscribe(subject(to), func(m *nats.Msg) { on(m.Data) })
	if err != nil {
		return to, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return to, err
	}
	return to, c.nc.Flush()
}

func (c *natsConn) publisher(_ context.Context, to target) (func([]byte) error, func() error, error) {
	s := subject(to)
	return func(b []byte) error { return c.nc.Publish(s, b) }, c.nc.Flush, nil
}

func (c *natsConn) close() error {
	c.nc.Close()
	return nil
}
