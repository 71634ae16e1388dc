package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

type demoFlags struct {
	count    int
	interval time.Duration
	id       string
}

// The ids of cn_test.c: of 2005, whose group netlink cannot have, and of today's
// samples, whose idx is CN_NETLINK_USERS + 3.
const (
	defaultID = "0x123:0x456"
	kernelID  = "14:0x456"
)

// patience is how long something that must come is waited for.
const patience = 20 * time.Second

// demoRun is one run of cn_test and ucon.
type demoRun struct {
	*env
	f        demoFlags
	ids      [2]cbid.ID
	agent    connector.Bus      // cn_test: the driver
	ep       connector.Endpoint // ucon: the socket
	registry bool
	group    uint32 // of the notifications

	called   atomic.Int64 // callbacks that ran
	callDone chan struct{}

	got counts // of ep, by who receives
}

func demo(ctx context.Context, e *env, f demoFlags) error {
	if f.count < 0 || f.interval < 0 {
		return cli.Usagef("--count and --interval must not be negative")
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if f.id == "" {
		f.id = defaultID
		if c.MaxGroup < 0x123 {
			f.id = kernelID
		}
	}
	id, err := cli.ParseID(f.id)
	switch {
	case err != nil:
		return err
	case id.Val >= 1<<32-32:
		return cli.Usagef("--id %v: there is no room for the vals that follow", id)
	}
	d := &demoRun{env: e, f: f, registry: c.Registry, callDone: make(chan struct{}, 16)}
	d.ids = [2]cbid.ID{id, {Idx: id.Idx, Val: id.Val + 1}}
	if err := d.open(ctx, c); err != nil {
		return err
	}
	e.app.Notice("on %s", c.Where)
	err = d.run(ctx)
	d.close()
	if err != nil {
		return err
	}
	return d.summary()
}

func (d *demoRun) open(ctx context.Context, c *busflag.Carrier) error {
	var err error
	if d.ids[0].Idx > c.MaxGroup {
		return cli.Usagef("--id %v: this carrier has groups up to %d", d.ids[0], c.MaxGroup)
	}
	if d.agent, err = c.Open(ctx, "cn_test"); err != nil {
		return err
	}
	user, err := c.Open(ctx, "ucon")
	if err != nil {
		d.agent.Close()
		return err
	}
	d.agent = &twoBuses{d.agent, user}
	if d.ep, err = user.Endpoint(ctx); err != nil {
		d.agent.Close()
	}
	return err
}

// twoBuses closes both.
type twoBuses struct {
	connector.Bus
	user connector.Bus
}

func (t *twoBuses) Close() error {
	t.user.Close()
	return t.Bus.Close()
}

func (d *demoRun) close() {
	d.ep.Close()
	d.agent.Close()
}

// run plays the parts one after the other, each of which waits until what it
// caused has arrived.
func (d *demoRun) run(ctx context.Context) error {
	if d.registry {
		d.group = notifyGroup(d.ep.Port())
		if err := d.ep.Join(ctx, d.group); err != nil {
			return err
		}
		if err := askNotify(ctx, d.ep, wantNotify(d.ids[0], d.group)); err != nil {
			return err
		}
	}
	if err := d.ep.Join(ctx, d.ids[0].Idx); err != nil {
		return err
	}
	for i, id := range d.ids {
		if err := d.agent.AddCallback(ctx, id, "cn_test", connector.HandlerFunc(d.callback)); err != nil {
			return err
		}
		if err := d.await(ctx, func() bool { return !d.registry || d.got.Registered > i }); err != nil {
			return err
		}
	}
	for n := range d.f.count {
		if n > 0 {
			if err := cli.Wait(ctx, d.f.interval); err != nil {
				return err
			}
		}
		if err := d.counter(ctx, n); err != nil {
			return err
		}
	}
	for _, id := range d.ids {
		if err := d.ep.Send(ctx, connector.Message{ID: id, Seq: 0x123, Ack: 0x345, Data: []byte("hello from ucon\x00")}, connector.Dest{}); err != nil {
			return err
		}
		if err := d.awaitCallback(ctx); err != nil {
			return err
		}
	}
	for i, id := range d.ids {
		if err := d.agent.DelCallback(ctx, id); err != nil {
			return err
		}
		if err := d.await(ctx, func() bool { return !d.registry || d.got.Removed > i }); err != nil {
			return err
		}
	}
	return nil
}

// counter is the timer of cn_test.c: it sends to the group of the registered id.
func (d *demoRun) counter(ctx context.Context, n int) error {
	m := connector.Message{ID: d.ids[1], Seq: uint32(n), Data: fmt.Appendf(nil, "counter = %d\x00", n)}
	if err := d.agent.Send(ctx, m, connector.Dest{}); err != nil {
		return err
	}
	return d.await(ctx, func() bool { return d.got.Messages > n })
}

// await receives until done, or for as long as patience lasts: what is missing is the
// summary's business.
func (d *demoRun) await(ctx context.Context, done func() bool) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		ev, err := d.ep.Recv(wait)
		if err != nil {
			if ctx.Err() == nil && wait.Err() != nil {
				return nil
			}
			return err
		}
		if err := d.take(&ev); err != nil {
			return err
		}
	}
	return nil
}

// take counts and prints an event of the endpoint.
func (d *demoRun) take(ev *connector.Event) error {
	what, note := "message", ""
	switch {
	case ev.Kind == connector.EventLost:
		d.got.Lost += ev.Lost
	case ev.Kind != connector.EventMessage:
	case d.group != 0 && ev.From.Group == d.group && (ev.Msg.ID == d.ids[0] || ev.Msg.ID == d.ids[1]):
		if note = notification(&ev.Msg); note == "registered" {
			d.got.Registered++
		} else {
			d.got.Removed++
		}
		what = note
	case ev.Msg.ID == d.ids[1] && ev.From.Group == d.ids[0].Idx:
		d.got.Messages++
	default:
		d.got.Other++
	}
	return d.show(what, ev, note)
}

// callback is cn_test_callback: it prints what was sent to the id.
func (d *demoRun) callback(_ context.Context, del *connector.Delivery) {
	d.called.Add(1)
	ev := connector.Event{Kind: connector.EventMessage, Msg: del.Msg, From: del.From}
	_ = d.show("callback", &ev, "cn_test_callback") // Out keeps the error
	select {
	case d.callDone <- struct{}{}:
	default:
	}
}

func (d *demoRun) awaitCallback(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-d.callDone:
	case <-wait.Done():
	}
	return ctx.Err()
}
