package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// load is what each host has.
type load struct {
	ids, groups int
	idle, lease time.Duration
}

// cost is what a site of that size costs.
type cost struct {
	hosts    int
	guess    bool
	register time.Duration // until all hosts know all ids and groups
	told     float64       // bytes that a host sent for that
	subs     float64       // subscriptions at the NATS server
	keys     float64       // in the store
	store    float64       // bytes
	renewals float64       // writes to the store a second
	in, out  float64       // bytes a second and host, at rest
	memory   float64       // bytes a host
}

// member is a host of the site.
type member struct {
	b      *broker.Broker
	bridge *natsbridge.Bridge
	bus    connector.Bus
	stop   func() error
}

const idIdx = 0x1000

// measure builds a site of n hosts, and takes it down.
func measure(ctx context.Context, n int, l load) (c cost, err error) {
	dir, err := os.MkdirTemp("", "cnbus")
	if err != nil {
		return c, err
	}
	defer os.RemoveAll(dir)
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "scale", Listen: "127.0.0.1:0", Store: filepath.Join(dir, "nats"), Log: quiet})
	if err != nil {
		return c, err
	}
	defer server.Close()
	before := heap()
	hosts := make([]*member, n)
	defer func() { err = errors.Join(err, stopAll(hosts)) }()
	var g errgroup.Group
	for i := range hosts {
		g.Go(func() (err error) {
			hosts[i], err = start(ctx, filepath.Join(dir, fmt.Sprintf("%d.sock", i)), fmt.Sprintf("host%d", i), server, l.lease, quiet)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return c, err
	}
	c.hosts = n
	was, err := traffic(ctx, hosts)
	if err != nil {
		return c, err
	}
	begin := time.Now()
	for i, h := range hosts {
		g.Go(func() error { return h.fill(ctx, i, n, l) })
	}
	if err := g.Wait(); err != nil {
		return c, err
	}
	if err := settled(ctx, hosts, l); err != nil {
		return c, err
	}
	c.register = time.Since(begin)
	is, err := traffic(ctx, hosts)
	if err != nil {
		return c, err
	}
	c.told = float64(is.BytesOut-was.BytesOut) / float64(n)
	return c, c.atRest(ctx, hosts, server, l, before)
}

// atRest measures what passes while nothing happens, and what there is.
func (c *cost) atRest(ctx context.Context, hosts []*member, server *natsbridge.Embedded, l load, before uint64) error {
	n := float64(len(hosts))
	nc, err := nats.Connect(server.URL(), nats.Timeout(time.Minute))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	first, err := store(ctx, js)
	if err != nil {
		return err
	}
	was, err := traffic(ctx, hosts)
	if err != nil {
		return err
	}
	begin := time.Now()
	select {
	case <-time.After(l.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	is, err := traffic(ctx, hosts)
	if err != nil {
		return err
	}
	last, err := store(ctx, js)
	if err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()
	c.out, c.in = float64(is.BytesOut-was.BytesOut)/n/seconds, float64(is.BytesIn-was.BytesIn)/n/seconds
	c.renewals = float64(last.LastSeq-first.LastSeq) / seconds
	c.keys, c.store = float64(last.Msgs), float64(last.Bytes)
	c.subs = n * float64(2+l.groups)
	c.memory = float64(heap()-before) / n
	return nil
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// store is the state of both buckets together.
func store(ctx context.Context, js jetstream.JetStream) (sum jetstream.StreamState, err error) {
	for _, name := range []string{"KV_cnbus_main_hosts", "KV_cnbus_main_ids"} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			return sum, err
		}
		st := s.CachedInfo().State
		sum.Msgs += st.Msgs
		sum.Bytes += st.Bytes
		sum.LastSeq += st.LastSeq
	}
	return sum, nil
}

// traffic is what all hosts have sent and got.
func traffic(ctx context.Context, hosts []*member) (sum natsbridge.HostRow, err error) {
	for _, h := range hosts {
		rows, err := h.bridge.Hosts(ctx)
		if err != nil {
			return sum, err
		}
		sum.BytesIn += rows[0].BytesIn
		sum.BytesOut += rows[0].BytesOut
	}
	return sum, nil
}

// settled waits until all hosts know what all others have.
func settled(ctx context.Context, hosts []*member, l load) error {
	for i := 0; i < len(hosts); {
		rows, err := hosts[i].bridge.Hosts(ctx)
		if err != nil {
			return err
		}
		know := 0
		for _, r := range rows[1:] {
			if r.State == "reachable" && r.IDs == l.ids && r.Groups == min(l.groups, len(hosts)) {
				know++
			}
		}
		if know == len(hosts)-1 {
			i++
			continue
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func start(ctx context.Context, socket, name string, server *natsbridge.Embedded, lease time.Duration, log *slog.Logger) (*member, error) {
	b, err := broker.New(&broker.Config{Socket: socket, HistoryDir: "-", Log: log, WillJoin: true})
	if err != nil {
		return nil, err
	}
	bctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- b.Serve(bctx) }()
	end := func() error { cancel(); return <-served }
	h := &member{b: b}
	if h.bridge, err = natsbridge.Join(ctx, b, &natsbridge.Config{Host: name, Server: server, SameUsers: true, Lease: lease, Log: log}); err != nil {
		return nil, errors.Join(err, end())
	}
	if h.bus, err = b.Bus(ctx, "scale"); err != nil {
		return nil, errors.Join(err, h.bridge.Close(bctx), end())
	}
	h.stop = func() error {
		last, done := context.WithTimeout(bctx, time.Minute)
		defer done()
		return errors.Join(h.bus.Close(), h.bridge.Close(last), end())
	}
	return h, nil
}

// fill registers the host's ids and joins its groups.
func (h *member) fill(ctx context.Context, i, n int, l load) error {
	var g errgroup.Group
	g.SetLimit(16)
	for k := range uint32(l.ids) {
		g.Go(func() error {
			id := cbid.Make(idIdx+uint32(i), k)
			return connector.AddSiteCallback(ctx, h.bus, id, "scale", connector.HandlerFunc(func(context.Context, *connector.Delivery) {}), connector.SiteOptions{})
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	ep, err := h.bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	for k := range min(l.groups, n) {
		if err := ep.Join(ctx, idIdx+uint32((i+k)%n)); err != nil {
			return err
		}
	}
	return nil
}

func stopAll(hosts []*member) error {
	errs := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		if h != nil {
			wg.Go(func() { errs[i] = h.stop() })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}
