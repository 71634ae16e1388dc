package busbench

import (
	"context"
	"sync"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

// idIdx is the idx of the benchmark's ids, clear of the well-known ones.
const idIdx = 0x0bec

// benchGroup is the group of all measurements that use one.
const benchGroup = idIdx

type busConn struct {
	bus *client.Bus
	wg  sync.WaitGroup
}

func dialBus(ctx context.Context, addr string) (conn, error) {
	b, err := client.Dial(ctx, &client.Config{Socket: addr, Name: "bench"})
	if err != nil {
		return nil, err
	}
	return &busConn{bus: b}, nil
}

func (c *busConn) echo(ctx context.Context, topic uint32) error {
	return c.bus.AddCallback(ctx, cbid.Make(idIdx, topic), "bench echo", connector.HandlerFunc(
		func(ctx context.Context, d *connector.Delivery) { _ = d.Reply(ctx, d.Msg.Data) }))
}

func (c *busConn) caller(ctx context.Context, topic uint32) (func(context.Context, []byte) (int, error), error) {
	ep, err := c.bus.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	id := cbid.Make(idIdx, topic)
	return func(ctx context.Context, payload []byte) (int, error) {
		ev, err := ep.Call(ctx, connector.Message{ID: id, Data: payload}, connector.Dest{})
		return len(ev.Msg.Data), err
	}, nil
}

func (c *busConn) subscribe(ctx context.Context, group uint32, on func([]byte), lost func(uint64)) (target, error) {
	ep, err := c.bus.Endpoint(ctx)
	if err != nil {
		return target{}, err
	}
	to := target{Group: group}
	if group == 0 {
		to.Port = ep.Port()
	} else if err := ep.Join(ctx, group); err != nil {
		return to, err
	}
	c.wg.Go(func() {
		for {
			ev, err := ep.Recv(context.Background())
			if err != nil {
				return
			}
			switch ev.Kind {
			case connector.EventMessage:
				on(ev.Msg.Data)
			case connector.EventLost:
				lost(ev.Lost)
			}
		}
	})
	return to, nil
}

// publisher posts. Nobody reads the endpoint's stream: that nothing was lost is for the
// subscribers to find out, who know the numbers of the messages.
func (c *busConn) publisher(ctx context.Context, to target) (func([]byte) error, func() error, error) {
	ep, err := c.bus.Endpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	dest := connector.Dest{Port: to.Port, Group: to.Group}
	if to.Group != 0 && !to.Lossy {
		dest.Full = connector.FullWait
	}
	id := cbid.Make(idIdx, 1)
	post := func(b []byte) error { return ep.Post(ctx, connector.Message{ID: id, Data: b}, dest) }
	return post, func() error { return nil }, nil
}

func (c *busConn) close() error {
	err := c.bus.Close()
	c.wg.Wait()
	return err
}
