package busbench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/cnbus/cnbus/cbid"
	cnbroker "github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
)

// HostsSuite is the suite of many hosts: two brokers that are joined through a nats-server on the loopback interface, against
// NATS itself, and a joined broker against one that is not.
func HostsSuite() harness.Suite {
	return harness.Suite{Name: "hosts", Experiments: []harness.Experiment{
		remoteCall(harness.Row{Name: "remote-call", Want: 1 / 1.5}, 128),
		groupOverHosts(harness.Row{Name: "group-128", Want: 0.8}, 128),
		localWhileJoined(harness.Row{Name: "local-call-joined", Want: 1 / 1.05}, 128),
	}}
}

// siteArgs are the arguments of the role site broker.
type siteArgs struct{ Socket, Host, NATS string }

// siteBroker is the role of our broker, joined to others.
func siteBroker(ctx context.Context, p *role.Proc) error {
	var a siteArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	b, err := cnbroker.New(&cnbroker.Config{Socket: a.Socket, Log: log, WillJoin: true})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() { served <- b.Serve(serving) }()
	g, err := natsbridge.Join(ctx, b, &natsbridge.Config{
		Host: a.Host, URL: a.NATS, SameUsers: true, Log: log, SiteWide: func(id cbid.ID) bool { return id.Idx == idIdx },
	})
	if err == nil {
		err = errors.Join(p.Serve(ctx, nil), g.Close(serving))
	}
	cancel()
	return errors.Join(err, <-served)
}

// natsStore is the role of a NATS server with JetStream, which a site needs; otherwise it is as the role of the other one.
func natsStore(ctx context.Context, p *role.Proc) error {
	var dir string
	if err := p.Args(&dir); err != nil {
		return err
	}
	o := natsOptions()
	o.JetStream, o.StoreDir = true, dir
	return serveNATS(ctx, p, o)
}

// hostsCast is a nats-server and brokers that have joined through it.
type hostsCast struct {
	*cast
	nats place
}

func openHosts(ctx context.Context, env *harness.Env) (*hostsCast, error) {
	c := &hostsCast{cast: &cast{env: env}, nats: place{System: sysNATS}}
	_, err := c.startHost(ctx, roleNATSStore, filepath.Join(env.Dir, "jetstream"), &c.nats.Addr)
	return c, err
}

// join starts a broker and joins it.
func (c *hostsCast) join(ctx context.Context, name string) (place, error) {
	at := place{System: sysBus, Addr: c.socket()}
	p, err := role.Start(ctx, roleSite, siteArgs{Socket: at.Addr, Host: name, NATS: c.nats.Addr}, nil)
	if err == nil {
		c.sites = append(c.sites, p)
	}
	return at, err
}

// openOr closes c when err is not nil.
func openOr(c *hostsCast, m harness.Meter, err error) (harness.Meter, error) {
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return m, nil
}

// remoteCall compares a call from host to host with a request by nats.go, through the same server.
func remoteCall(row harness.Row, size int) harness.Experiment {
	row.Unit = "us"
	row.What = fmt.Sprintf("remote call p50, client to broker to NATS to broker to agent and back, %d bytes", size)
	row.Against = "nats.go request and reply through the same nats-server"
	return harness.Experiment{Rows: []harness.Row{row}, Cheap: true, Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
		c, err := openHosts(ctx, env)
		m := &tripsPair{cast: c.cast}
		if err == nil {
			m.rival, err = openTrips(ctx, c.cast, echoArgs{At: c.nats, Topic: topicBase, Size: size})
		}
		if err == nil {
			m.ours, err = c.tripsBetween(ctx, size)
		}
		return openOr(c, m, err)
	}}
}

// tripsBetween has an agent on one host and a requester on another.
func (c *hostsCast) tripsBetween(ctx context.Context, size int) (*trips, error) {
	one, err := c.join(ctx, "one")
	if err != nil {
		return nil, err
	}
	two, err := c.join(ctx, "two")
	if err != nil {
		return nil, err
	}
	if _, err := c.start(ctx, roleEcho, echoArgs{At: two, Topic: topicBase, Size: size}, nil); err != nil {
		return nil, err
	}
	asker, err := c.start(ctx, roleRequester, echoArgs{At: one, Topic: topicBase, Size: size}, nil)
	if err != nil {
		return nil, err
	}
	t := &trips{asker: asker}
	return t, t.run(ctx, c.env.Pick(2000, 200), 0)
}

// groupOverHosts compares the throughput of a group from one host to a member on another with NATS's own. The sender goes at the
// receiver's pace, so nothing is lost; that is checked. Without FullWait a member that does not keep up loses, and is told.
func groupOverHosts(row harness.Row, size int) harness.Experiment {
	row.Unit, row.Higher = "msg/s", true
	row.What = fmt.Sprintf("group throughput from host to host, lossless (FullWait), %d bytes", size)
	row.Against = "nats.go publish and subscribe through the same nats-server"
	return harness.Experiment{Rows: []harness.Row{row}, Cheap: true, Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
		c, err := openHosts(ctx, env)
		m := &ratePair{cast: c.cast}
		if err == nil {
			m.rival, err = openRate(ctx, c.cast, flowArgs{At: c.nats, Subs: 1, Group: benchGroup, Size: size})
		}
		var one, two place
		if err == nil {
			one, err = c.join(ctx, "one")
		}
		if err == nil {
			two, err = c.join(ctx, "two")
		}
		if err == nil {
			m.ours, err = openRate(ctx, c.cast, flowArgs{At: two, From: &one, Subs: 1, Group: benchGroup, Size: size})
		}
		return openOr(c, m, err)
	}}
}

// localWhileJoined compares a call within a host that has joined another with one of a broker that has not.
func localWhileJoined(row harness.Row, size int) harness.Experiment {
	row.Unit = "us"
	row.What = fmt.Sprintf("local call p50 while joined to another host, %d bytes", size)
	row.Against = "the same broker, not joined"
	return harness.Experiment{Rows: []harness.Row{row}, Cheap: true, Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
		c, err := openHosts(ctx, env)
		m := &tripsPair{cast: c.cast}
		var alone *host
		var at place
		if err == nil {
			if alone, err = c.ours(ctx, brokerArgs{}); err == nil {
				m.rival, err = openTrips(ctx, c.cast, echoArgs{At: alone.place, Topic: topicBase, Size: size})
			}
		}
		if err == nil {
			at, err = c.join(ctx, "one")
		}
		if err == nil {
			_, err = c.join(ctx, "two")
		}
		if err == nil {
			m.ours, err = openTrips(ctx, c.cast, echoArgs{At: at, Topic: topicBase, Size: size})
		}
		return openOr(c, m, err)
	}}
}

func natsOptions() *server.Options {
	return &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPending: 8 << 30, WriteDeadline: natsWrite, AuthTimeout: patience.Seconds(),
	}
}
