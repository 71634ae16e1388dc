package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// retain is how long the UDP port of those who want none of their own is kept for the next client, with its connections and
// what is known of peers. A port that somebody has named is free at once when he goes.
const retain = time.Minute

// RxAgent is the agent of RxRPC.
type RxAgent struct {
	Err   error // why there is none
	agent *rxagent.Agent
	bus   connector.Bus
	udp   *inside
	log   *slog.Logger
}

func startRx(ctx context.Context, cfg *Config) *RxAgent {
	if cfg.NoRx {
		return &RxAgent{Err: ErrOff}
	}
	open := cfg.Open
	if cfg.OpenRx != nil {
		open = cfg.OpenRx
	}
	bus, err := open(ctx)
	if err != nil {
		return &RxAgent{Err: err}
	}
	udp, err := newInside(ctx, cfg, bus)
	if err != nil {
		bus.Close()
		return &RxAgent{Err: err}
	}
	c := rxagent.Config{
		Open: udp.open, Endpoint: &rxrpc.Config{Logger: cfg.Log}, Policy: rxPolicy{cfg.Allow}, Logger: cfg.Log,
	}
	var keys rxkeys.Config
	if q := (rxQuota{cfg.Quota}); cfg.Quota != nil {
		c.Quota, c.Limits = q, rxagent.Limits{Sockets: math.MaxInt32, Bytes: math.MaxInt64}
		keys.Store.Quota = q.keys
	}
	c.Keys = keyPolicy{rxkeys.New(&keys), cfg.Allow, cfg.Quota}
	a, err := rxagent.New(ctx, bus, &c)
	if err != nil {
		udp.close()
		bus.Close()
		return &RxAgent{Err: err}
	}
	return &RxAgent{agent: a, bus: bus, udp: udp, log: cfg.Log}
}

// Stats returns its counts; false without an agent.
func (r *RxAgent) Stats() (RxStats, bool) {
	if r.agent == nil {
		return RxStats{}, false
	}
	return RxStats{Stats: r.agent.Stats(), Calls: len(r.agent.Calls()), Conns: len(r.agent.Conns()), Peers: len(r.agent.Peers())}, true
}

// RxStats are the counts of the agent, and how much there is on its endpoints.
type RxStats struct {
	rxagent.Stats
	Calls, Conns, Peers int
}

// Site offers it to the other hosts of a site that the broker has joined as number host, under that name.
func (r *RxAgent) Site(ctx context.Context, host uint32, name string) error {
	return r.agent.Site(ctx, host, name)
}

func (r *RxAgent) stop() {
	if r == nil || r.agent == nil {
		return
	}
	if err := r.agent.Close(); err != nil && !errors.Is(err, connector.ErrClosed) {
		r.log.Debug("end of the RxRPC agent", "err", err)
	}
	r.udp.close()
	r.bus.Close()
}

// inside is the loopback bus with the tsocket agent that UDP sockets come from.
type inside struct {
	bus    connector.Bus
	user   connector.Bus
	agent  *tsagent.Agent
	client *tsagent.Client
	later  func(fn func()) bool // rxrpc.Config.Later
	port   uint16
	log    *slog.Logger
}

// looped is a bus with a loop that calls what is marked by connector.Inline: it receives for the endpoints too, and what its callbacks want of
// them leaves at the end of its turn. So short calls cost no change of goroutine.
type looped interface {
	connector.Runner
	Loop() *tsocket.Loop
}

// sockets are the UDP sockets of the endpoints.
func (in *inside) sockets() []tsagent.SocketInfo {
	if in == nil {
		return nil
	}
	all := in.agent.Sockets()
	for i := range all {
		all[i].Owner = "rxrpc"
	}
	return all
}

// The ids on the loopback bus to which datagrams are sent, and word of room for those of the engine.
var (
	sink = cbid.ID{Idx: cbid.TSocket.Idx, Val: 2}
	room = cbid.ID{Idx: cbid.TSocket.Idx, Val: 3}
)

// udpWindow is how much of an endpoint's datagrams may be under way between it and its socket, each way: what one system call brings can let
// that much be sent, and who has to wait for room takes turns with other goroutines.
const udpWindow = 1 << 20

// newInside makes it for the agent that is going to be on bus.
func newInside(ctx context.Context, cfg *Config, bus connector.Bus) (*inside, error) {
	hub := loopback.New(&loopback.Config{Log: cfg.Log})
	in := &inside{bus: hub.Open(), user: hub.Open(), port: cfg.RxPort, log: cfg.Log}
	c := tsagent.Config{
		Policy: tsagent.AllowAll(), Sinks: true, Logger: cfg.Log,
		Window: udpWindow, BytesPerUID: math.MaxInt32, // the agent of RxRPC has limits
	}
	if b, ok := bus.(looped); ok {
		c.Loop, in.later = b.Loop(), b.Run
	}
	var err error
	if in.agent, err = tsagent.New(ctx, in.bus, &c); err == nil {
		in.client, err = tsagent.NewClient(ctx, in.user, &tsagent.ClientConfig{Sink: sink, Room: room, Window: udpWindow})
	}
	if err == nil && in.port != 0 {
		err = in.probe(ctx)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// probe says whether --rx-port is free: an agent that had another one would be looked for in vain.
func (in *inside) probe(ctx context.Context) error {
	d, err := in.udpAt(ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), in.port))
	if err != nil {
		return fmt.Errorf("UDP port %d: %w", in.port, err)
	}
	return d.Close()
}

// open is rxagent.Config.Open.
func (in *inside) open(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	ctx := context.Background()
	at := local
	wanted := in.port != 0 && local.Port() == 0 && local.Addr().IsUnspecified()
	if wanted {
		at = netip.AddrPortFrom(local.Addr(), in.port)
	}
	d, err := in.udpAt(ctx, at)
	if wanted && errors.Is(err, syscall.EADDRINUSE) { // a client has the port already
		d, err = in.udpAt(ctx, local)
	}
	if err != nil {
		return nil, &rxrpc.EndpointError{Op: "open", Local: local, Err: err}
	}
	c := rxrpc.Config{}
	if cfg != nil {
		c = *cfg
	}
	c.Later = in.later
	if c.Retain = retain; local.Port() != 0 {
		c.Retain = -1
	}
	e, err := rxrpc.OpenOn(d, &c)
	if err != nil {
		_ = d.Close()
	}
	return e, err
}

// udpAt opens a socket that nobody else can be bound to.
func (in *inside) udpAt(ctx context.Context, at netip.AddrPort) (*tsocket.Dgram, error) {
	addr, err := tsocket.AddrFrom(at)
	if err != nil {
		return nil, err
	}
	return in.client.ExclusiveUDP(ctx, addr)
}

func (in *inside) close() {
	if in.client != nil {
		_ = in.client.Close()
	}
	if in.agent != nil {
		_ = in.agent.Close()
	}
	in.user.Close()
	in.bus.Close()
}
