package natsbridge

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

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
	line   *dialer
	out    *outbox
	in     chan *nats.Msg // what NATS's client has for the inbox
	inbox  inbox
	prefix string

	ctx    context.Context // of the operations on the store
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stores chan struct{} // one for each that is under way
	joined chan struct{} // closed when site is set
	reads  *readers      // of durable groups
	slow   atomic.Uint64 // times that NATS dropped what was not read in time
	closed sync.Once

	denied     atomic.Pointer[error] // the first thing that the server does not let this broker do
	explaining atomic.Bool

	// The broker's loop's.
	core  *core
	timer *time.Timer
}

const (
	// storesMost is how many operations on the store are under way at a time.
	storesMost = 32
	// minPayload is what the NATS server must let pass.
	minPayload = 256 << 10

	// leaseTries is how often a host that joins renews a lease of which much has gone: with a store that is as slow later on it
	// would have none anyway.
	leaseTries = 3

	// slowAgain is how often the log has it that the broker does not keep up; 'cnbus hosts' has the count.
	slowAgain = 10 * time.Second
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
		in: make(chan *nats.Msg, inboxPackets), stores: make(chan struct{}, storesMost), joined: make(chan struct{}),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.reads = newReaders(g)
	if err := g.connect(ctx); err != nil {
		g.cancel()
		return nil, joinError(err)
	}
	if err := g.start(ctx, b); err != nil {
		g.cancel()
		g.nc.Close()
		g.wg.Wait()
		return nil, joinError(err)
	}
	g.meet(ctx)
	return g, nil
}

func joinError(err error) error { return &connector.OpError{Op: "join a site", Err: err} }

// start takes the host's lease and puts the bridge into the broker.
func (g *Bridge) start(ctx context.Context, b *broker.Broker) error {
	began := time.Now()
	clock := func(t time.Time) int64 { return int64(t.Sub(began)) + int64(time.Hour) }
	rev, asked, err := g.store.takeLease(ctx, g.number, g.run, g.cfg.Host, g.cfg.Lease)
	if err != nil {
		return err
	}
	cfg := coreConfig{
		host: g.number, name: g.cfg.Host, run: g.run, first: g.run >> 2, lease: int64(g.cfg.Lease), local: g.cfg.Local,
		clock: func() int64 { return clock(time.Now()) }, log: g.log,
	}
	cfg.cred = g.cred
	g.core = newCore(cfg, nil, carrier{g})
	g.timer = time.AfterFunc(math.MaxInt64, func() { g.post(g.core.tick) })
	g.out = newOutbox(g.nc, g.line, g.prefix, g.in, func(err error) { g.log.Error("NATS", "err", err) })
	for _, s := range []subject{{kind: packetBeacon}, {packetLink, uint32(g.number)}} {
		if _, err := g.nc.ChanSubscribe(g.out.subject(s), g.in); err != nil {
			return err
		}
	}
	if err := g.store.flushed(ctx, g.nc.FlushWithContext); err != nil {
		return err
	}
	if err := g.refused(); err != nil {
		return err
	}
	wide := func(id cbid.ID) bool {
		return id != HostsID && g.cfg.SiteWide != nil && g.cfg.SiteWide(id)
	}
	durable, err := g.store.durableGroups(ctx)
	if err != nil {
		return err
	}
	g.core.durableKnown = maps.Clone(durable)
	// A store that has only just begun may have taken so long that the lease has ended: what waits for the join would be refused.
	for range leaseTries {
		if time.Since(asked) < g.cfg.Lease/renewals {
			break
		}
		if rev, asked, err = g.store.takeLease(ctx, g.number, g.run, g.cfg.Host, g.cfg.Lease); err != nil {
			return err
		}
	}
	g.core.leased(rev, clock(asked))
	site, err := b.Join(ctx, &broker.JoinConfig{Host: uint32(g.number), Uplink: g.core, SiteWide: wide, Durable: durable, Local: g.cfg.Local})
	if err != nil {
		return err
	}
	g.inbox.wake = site.Poster(g.take)
	g.site.Store(site)
	close(g.joined)
	g.wg.Go(g.out.run)
	g.wg.Go(g.spread)
	g.inbox.open()
	g.post(func() {
		g.core.connected = g.nc.IsConnected()
		g.core.tick()
		g.core.runLater() // of Join
	})
	return nil
}

// cred says who a user of another host is here: the policy does, or else the configuration. It is called on the broker's loop.
func (g *Bridge) cred(host string, cred connector.Cred) connector.Cred {
	if l, ok := g.core.hub.(*broker.SiteLoop); ok {
		if here, ok := l.HostCred(host, cred); ok {
			return here
		}
	}
	if g.cfg.SameUsers {
		return cred
	}
	return nobody()
}

// post runs f on the broker's loop.
func (g *Bridge) post(f func()) bool {
	site := g.site.Load()
	return site != nil && site.Post(func(l *broker.SiteLoop) {
		g.core.hub = l
		f()
	})
}

// gather takes what has come to the inbox, and wakes the broker. NATS's reader calls it before it waits for more.
func (g *Bridge) gather() {
	for {
		select {
		case m := <-g.in:
			if dropped, first := g.inbox.put(m); dropped {
				g.slow.Add(1)
				if first {
					g.log.Warn("the broker does not keep up with the site, what comes is dropped", "bytes waiting", inboxBytes)
				}
			}
		default:
			g.inbox.ready()
			return
		}
	}
}

// take gives some of what has come to the core, on the broker's loop. What it brings about goes out when the clients have what is for
// them.
func (g *Bridge) take(l *broker.SiteLoop) {
	g.core.hub = l
	for _, m := range g.inbox.batch() {
		if from, ok := subjectOf(m.Subject, g.prefix); ok {
			g.core.receive(from, m.Data)
		}
	}
	l.Flush()
	g.inbox.taken()
}

// carrier is the wire of a bridge's core.
type carrier struct{ *Bridge }

func (g carrier) Packet(to subject, b []byte) bool { return g.out.put(outItem{to: to, b: b}) }

func (g carrier) Listen(group uint32, on bool) {
	g.out.put(outItem{to: subject{packetGroup, group}, on: on})
}
func (g carrier) Soon()         { g.post(g.core.runLater) }
func (g carrier) Wake(at int64) { g.timer.Reset(max(0, time.Duration(at-g.core.clock()))) }

// Store does op on a goroutine of its own. A few are under way at a time; those for the host's lease wait for none of the others,
// or it would end while many ids are claimed.
func (g carrier) Store(op storeOp) {
	g.wg.Go(func() {
		if op.bucket != bucketHosts || op.key != leaseKey(g.number) {
			select {
			case g.stores <- struct{}{}:
				defer func() { <-g.stores }()
			case <-g.ctx.Done():
				return
			}
		}
		r := g.store.do(g.ctx, &op)
		select {
		case <-g.joined: // the hub may have asked before Join has returned
		case <-g.ctx.Done():
			return
		}
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
	left := make(chan []storeOp, 1)
	var keys []storeOp
	if g.post(func() {
		g.core.close()
		left <- g.core.leftovers()
	}) {
		select {
		case keys = <-left:
		case <-ctx.Done():
		}
	}
	err := g.site.Load().Leave(ctx)
	if errors.Is(err, connector.ErrClosed) {
		err = nil // the broker has ended
	}
	g.timer.Stop()
	g.out.close()
	for i := range keys {
		if ctx.Err() == nil && g.nc.IsConnected() {
			g.store.do(ctx, &keys[i])
		}
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
