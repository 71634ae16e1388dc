package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

// settling is how long the hosts of a site may take to know of what was just opened.
const settling = time.Minute

// openSite makes the ways from each host to the next, and waits until the hosts know of the receivers.
func (l *load) openSite(ctx context.Context, c *busflag.Carrier) error {
	if err := l.checkHosts(ctx, c); err != nil {
		return err
	}
	settled, cancel := context.WithTimeoutCause(ctx, settling, connector.ErrTimeout)
	defer cancel()
	for _, s := range l.senders {
		if err := l.begin(settled, s); err != nil {
			return fmt.Errorf("not all receivers hear sender %d of %s (are all brokers of one site?): %w", s.number, c.On(int(s.number)).Where, err)
		}
	}
	for i := range c.Hosts {
		for _, open := range []func(context.Context, *busflag.Carrier, int) (*path, error){l.openPosts, l.openCalls} {
			p, err := open(settled, c, i)
			if err != nil {
				return err
			}
			p.from, p.to = c.On(i).Where, c.On(i+1).Where
			l.paths = append(l.paths, p)
		}
	}
	return nil
}

// checkHosts refuses brokers that have not joined, or that are one.
func (l *load) checkHosts(ctx context.Context, c *busflag.Carrier) error {
	where := make(map[uint32]string)
	for i := range c.Hosts {
		b, err := c.On(i).Open(ctx, "cn-test")
		if err != nil {
			return err
		}
		ep, err := b.Endpoint(ctx)
		if err != nil {
			return errors.Join(err, b.Close())
		}
		n, at := connector.HostOf(ep.Port()), c.On(i).Where
		if err := b.Close(); err != nil {
			return err
		}
		switch other, twice := where[n]; {
		case n == 0:
			return fmt.Errorf("%s has not joined others ('cnbus serve --join', 'cnbus hosts'): %w", at, connector.ErrNotSupported)
		case twice:
			return cli.Usagef("--peer: %s and %s are one host", other, at)
		}
		where[n] = at
	}
	return nil
}

// begin sends to the group until every receiver has heard the sender: its host knows then on which hosts there are some, and what it
// posts from now on counts there.
func (l *load) begin(ctx context.Context, s *loadSender) error {
	m := connector.Message{ID: loadID, Data: make([]byte, l.f.size)}
	binary.NativeEndian.PutUint32(m.Data, s.number)
	binary.NativeEndian.PutUint32(m.Data[4:], markBegin)
	for {
		err := s.ep.Send(ctx, m, connector.Dest{Group: l.group})
		if err != nil && !errors.Is(err, connector.ErrNoID) && !errors.Is(err, connector.ErrNoListener) {
			return err
		}
		all := true
		for _, r := range l.receivers {
			all = r.hears(ctx, s.number) && all
		}
		switch {
		case all:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// hears receives until the sender's first message has come, for a short while.
func (r *loadReceiver) hears(ctx context.Context, sender uint32) bool {
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	for !r.begun[sender] {
		ev, err := r.ep.Recv(short)
		if err != nil {
			return false
		}
		r.take(&ev)
	}
	return true
}

// place opens an endpoint on the i-th host, whose bus is closed with the load.
func (l *load) place(ctx context.Context, c *busflag.Carrier, i int, name string) (connector.Bus, connector.Endpoint, error) {
	b, err := c.On(i).Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	l.buses = append(l.buses, b)
	ep, err := b.Endpoint(ctx)
	return b, ep, err
}

// openPosts makes a way of messages to one port of the next host.
func (l *load) openPosts(ctx context.Context, c *busflag.Carrier, i int) (*path, error) {
	_, from, err := l.place(ctx, c, i, "cn-test sender")
	if err != nil {
		return nil, err
	}
	_, to, err := l.place(ctx, c, i+1, "cn-test receiver")
	if err != nil {
		return nil, err
	}
	p := &path{kind: "unicast", size: l.f.size, changed: make(chan struct{}, 1)}
	p.run = func(sending, work context.Context) error { return p.posts(sending, work, from, to) }
	return p, nil
}

// openCalls makes a way of calls to an agent of the next host, which all hosts know.
func (l *load) openCalls(ctx context.Context, c *busflag.Carrier, i int) (*path, error) {
	_, from, err := l.place(ctx, c, i, "cn-test caller")
	if err != nil {
		return nil, err
	}
	agent, to, err := l.place(ctx, c, i+1, "cn-test agent")
	if err != nil {
		return nil, err
	}
	p := &path{kind: "calls", size: l.f.size}
	id := cbid.Make(cbid.CnTest.Idx, to.Port()) // which nobody else has
	answer := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		p.asked.Add(1)
		_ = d.Reply(ctx, d.Msg.Data) // the caller counts what is missing
	})
	if err := connector.AddSiteCallback(ctx, agent, id, "cn-test agent", answer, connector.SiteOptions{}); err != nil {
		return nil, err
	}
	for { // until the host of the caller knows it
		_, err := from.Call(ctx, connector.Message{ID: id, Data: []byte("hello")}, connector.Dest{})
		if err == nil {
			break
		}
		if !errors.Is(err, connector.ErrNoID) {
			return nil, fmt.Errorf("call from %s to %s: %w", c.On(i).Where, c.On(i+1).Where, err)
		}
		if err := cli.Wait(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("%v, registered on %s, is not known on %s: %w", id, c.On(i+1).Where, c.On(i).Where, context.Cause(ctx))
		}
	}
	p.asked.Store(0)
	p.run = func(sending, work context.Context) error { return p.calls(sending, work, from, id) }
	return p, nil
}
