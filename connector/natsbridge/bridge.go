package natsbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// Bridge joins a broker to the others of a site.
type Bridge struct {
	cfg    *Config
	log    *slog.Logger
	nc     *nats.Conn
	store  *natsStore
	number uint16
	run    uint64
	site   atomic.Pointer[broker.Site]
	out    *outbox
	in     chan *nats.Msg
	prefix string

	ctx    context.Context // of the operations on the store
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stores chan struct{} // one for each that is under way
	slow   atomic.Uint64 // times that NATS dropped what was not read in time
	closed sync.Once

	// The broker's loop's.
	core  *core
	timer *time.Timer
}

const (
	// inboxPackets is how many payloads may wait for the broker before NATS's client drops them, as lost.
	inboxPackets = 1 << 16
	// inboxBatch is how many of them are given to the broker at a time.
	inboxBatch = 256
	// storesMost is how many operations on the store are under way at a time.
	storesMost = 32
	// minPayload is what the NATS server must let pass.
	minPayload = 256 << 10
)

// Join joins b to a site. It returns when the host has its number and its lease, which takes as long as a lease when an
// earlier run of it has not said good-bye. ctx bounds that.
func Join(ctx context.Context, b *broker.Broker, cfg *Config) (*Bridge, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, joinError(err)
	}
	g := &Bridge{
		cfg: cfg, log: cfg.Log, run: newRun(), prefix: "cnbus." + cfg.Site + ".",
		in: make(chan *nats.Msg, inboxPackets), stores: make(chan struct{}, storesMost),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.connect(ctx); err != nil {
		g.cancel()
		return nil, joinError(err)
	}
	if err := g.start(ctx, b); err != nil {
		g.cancel()
		g.nc.Close()
		return nil, joinError(err)
	}
	g.meet(ctx)
	return g, nil
}

func joinError(err error) error { return &connector.OpError{Op: "join a site", Err: err} }

// connect connects to NATS and finds out which host this is.
func (g *Bridge) connect(ctx context.Context) (err error) {
	opts := []nats.Option{
		nats.Name("cnbus " + g.cfg.Host), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // what is said meanwhile is said again by who must be heard
		nats.PingInterval(g.cfg.Lease / 4), nats.MaxPingsOutstanding(2), nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { g.connected(false, err) }),
		nats.ReconnectHandler(func(*nats.Conn) { g.connected(true, nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				g.slow.Add(1)
			}
			g.log.Warn("NATS", "err", err)
		}),
	}
	opts = append(opts, g.cfg.options()...)
	url := g.cfg.URL
	if g.cfg.Server != nil {
		url = ""
	}
	for {
		if g.nc, err = nats.Connect(url, opts...); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("NATS at %s: %w", g.cfg.URL, errors.Join(err, ctx.Err()))
		case <-time.After(250 * time.Millisecond):
		}
		if errors.Is(err, nats.ErrAuthorization) {
			return fmt.Errorf("NATS at %s: %w", g.cfg.URL, err)
		}
	}
	if err = g.identify(ctx); err != nil {
		g.nc.Close()
	}
	return err
}

func (g *Bridge) identify(ctx context.Context) error {
	if most := g.nc.MaxPayload(); most < minPayload {
		return fmt.Errorf("the NATS server takes messages of at most %d bytes, %d are needed (max_payload)", most, minPayload)
	}
	js, err := jetstream.New(g.nc)
	if err != nil {
		return err
	}
	if g.store, err = openStore(ctx, js, g.cfg.Site, g.cfg.Lease, g.cfg.Replicas); err != nil {
		return err
	}
	g.number, err = g.store.hostNumber(ctx, g.cfg.Host)
	return err
}

// start takes the host's lease and puts the bridge into the broker.
func (g *Bridge) start(ctx context.Context, b *broker.Broker) error {
	began := time.Now()
	rev, err := g.store.takeLease(ctx, g.number, g.run, g.cfg.Host, g.cfg.Lease)
	if err != nil {
		return err
	}
	cfg := coreConfig{
		host: g.number, name: g.cfg.Host, run: g.run, first: uint64(began.UnixNano()), lease: int64(g.cfg.Lease), leaseRev: rev, local: g.cfg.Local,
		clock: func() int64 { return int64(time.Since(began)) + int64(time.Hour) }, log: g.log,
	}
	if !g.cfg.SameUsers {
		cfg.cred = nobody
	}
	g.core = newCore(cfg, nil, g)
	g.timer = time.AfterFunc(math.MaxInt64, func() { g.post(g.core.tick) })
	g.out = newOutbox(g.nc, g.prefix, g.in, func(err error) { g.log.Error("NATS", "err", err) })
	for _, s := range []subject{{kind: packetBeacon}, {packetLink, uint32(g.number)}} {
		if _, err := g.nc.ChanSubscribe(g.out.subject(s), g.in); err != nil {
			return err
		}
	}
	wide := func(id cbid.ID) bool {
		return id != HostsID && g.cfg.SiteWide != nil && g.cfg.SiteWide(id)
	}
	site, err := b.Join(ctx, &broker.JoinConfig{Host: uint32(g.number), Uplink: g.core, SiteWide: wide})
	if err != nil {
		return err
	}
	g.site.Store(site)
	g.wg.Go(g.out.run)
	g.wg.Go(g.read)
	g.post(func() {
		g.core.connected = g.nc.IsConnected()
		g.core.tick()
		g.core.runLater() // of Join
	})
	return nil
}

// post runs f on the broker's loop.
func (g *Bridge) post(f func()) bool {
	site := g.site.Load()
	return site != nil && site.Post(func(l *broker.SiteLoop) {
		g.core.hub = l
		f()
	})
}

// read gives what comes to the broker, many payloads at a time, and waits until it has taken them.
func (g *Bridge) read() {
	done := make(chan struct{}, 1)
	batch := make([]*nats.Msg, 0, inboxBatch)
	take := func() {
		for _, m := range batch {
			if from, ok := subjectOf(m.Subject, g.prefix); ok {
				g.core.receive(from, m.Data)
			}
		}
		g.core.Flush()
		done <- struct{}{}
	}
	for {
		batch = batch[:0]
		select {
		case <-g.ctx.Done():
			return
		case m := <-g.in:
			batch = append(batch, m)
		}
	more:
		for len(batch) < inboxBatch {
			select {
			case m := <-g.in:
				batch = append(batch, m)
			default:
				break more
			}
		}
		if !g.post(take) {
			return
		}
		select {
		case <-done:
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *Bridge) connected(yes bool, err error) {
	if g.ctx.Err() != nil {
		return
	}
	if yes {
		g.log.Info("NATS connection is back", "server", g.nc.ConnectedUrlRedacted())
	} else {
		g.log.Warn("NATS connection lost", "err", err)
	}
	g.post(func() { g.core.setConnected(yes) })
}

// The wire of the core.

func (g *Bridge) Packet(to subject, b []byte) { g.out.put(outItem{to: to, b: b}) }

func (g *Bridge) Listen(group uint32, on bool) {
	g.out.put(outItem{to: subject{packetGroup, group}, on: on})
}
func (g *Bridge) Soon()         { g.post(g.core.runLater) }
func (g *Bridge) Wake(at int64) { g.timer.Reset(max(0, time.Duration(at-g.core.clock()))) }

// Store does op on a goroutine of its own.
func (g *Bridge) Store(op storeOp) {
	g.wg.Go(func() {
		select {
		case g.stores <- struct{}{}:
		case <-g.ctx.Done():
			return
		}
		r := g.store.do(g.ctx, &op)
		<-g.stores
		g.post(func() {
			op.then(r)
			g.core.Flush()
		})
	})
}

// Number is the number of this host in the site.
func (g *Bridge) Number() uint32 { return uint32(g.number) }

// Close leaves the site: the other hosts are told, and the lease is given back. ctx bounds it.
func (g *Bridge) Close(ctx context.Context) error {
	var err error
	g.closed.Do(func() { err = g.close(ctx) })
	return err
}

func (g *Bridge) close(ctx context.Context) error {
	var rev uint64
	var ids []storeOp
	left := make(chan struct{})
	if g.post(func() {
		g.core.close()
		rev = g.core.lease.rev
		for _, o := range g.core.own {
			if o.rev != 0 {
				ids = append(ids, storeOp{kind: storeDelete, bucket: bucketIDs, key: idKey(o.info.ID), rev: o.rev})
			}
		}
		close(left)
	}) {
		select {
		case <-left:
		case <-ctx.Done():
		}
	}
	err := g.site.Load().Leave(ctx)
	if errors.Is(err, connector.ErrClosed) {
		err = nil // the broker has ended
	}
	g.timer.Stop()
	g.out.close()
	for i := range ids {
		if ctx.Err() == nil && g.nc.IsConnected() {
			g.store.do(ctx, &ids[i])
		}
	}
	if rev != 0 && ctx.Err() == nil && g.nc.IsConnected() {
		op := storeOp{kind: storeDelete, bucket: bucketHosts, key: leaseKey(g.number), rev: rev}
		g.store.do(ctx, &op)
	}
	g.cancel()
	defer context.AfterFunc(ctx, g.nc.Close)() // a server that takes nothing
	g.wg.Wait()
	if g.nc.IsConnected() {
		_ = g.nc.FlushTimeout(time.Second)
	}
	g.nc.Close()
	return err
}
