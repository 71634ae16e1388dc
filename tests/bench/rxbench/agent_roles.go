package rxbench

import (
	"context"
	"net/netip"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// brokerArgs are the arguments of the role broker.
type brokerArgs struct{ Socket string }

// runBroker is a broker with the RxRPC agent, put together as cnbus serve does it.
func runBroker(ctx context.Context, p *role.Proc) error {
	var a brokerArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	b, err := broker.New(&broker.Config{Socket: a.Socket, HistoryDir: "-"})
	if err != nil {
		return err
	}
	brokerCtx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(brokerCtx) }()
	defer func() {
		stop()
		<-served
	}()
	bus, err := b.Bus(ctx, "rxrpc")
	if err != nil {
		return err
	}
	defer bus.Close()
	inside, _ := bus.(looped)
	udp, err := newBusUDP(ctx, inside)
	if err != nil {
		return err
	}
	defer udp.close()
	agent, err := rxagent.New(ctx, bus, &rxagent.Config{Open: udp.open})
	if err != nil {
		return err
	}
	defer agent.Close()
	return p.Serve(ctx, nil)
}

// busUDP is a tsocket agent on a loopback bus, from which endpoints have their UDP sockets.
type busUDP struct {
	agent  *tsagent.Agent
	client *tsagent.Client
	buses  []*loopback.Bus
	later  func(func()) bool
}

// looped is a bus within a broker's process.
type looped interface {
	connector.Runner
	Loop() *tsocket.Loop
}

// newBusUDP opens them; on the loop of the bus within a broker's process, if there is one.
func newBusUDP(ctx context.Context, inside looped) (*busUDP, error) {
	hub := loopback.New(nil)
	u := &busUDP{buses: []*loopback.Bus{hub.Open(), hub.Open()}}
	const window = 1 << 20 // as in cnbus serve
	c := &tsagent.Config{Policy: tsagent.AllowAll(), Sinks: true, Window: window}
	if inside != nil {
		c.Loop, u.later = inside.Loop(), inside.Run
	}
	var err error
	if u.agent, err = tsagent.New(ctx, u.buses[0], c); err == nil {
		u.client, err = tsagent.NewClient(ctx, u.buses[1], &tsagent.ClientConfig{Sink: busUDPSink, Room: busUDPRoom, Window: window})
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *busUDP) open(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	addr, err := tsocket.AddrFrom(local)
	if err != nil {
		return nil, err
	}
	d, err := u.client.ExclusiveUDP(context.Background(), addr)
	if err != nil {
		return nil, err
	}
	var c rxrpc.Config
	if cfg != nil {
		c = *cfg
	}
	c.Later = u.later
	e, err := rxrpc.OpenOn(d, &c)
	if err != nil {
		_ = d.Close()
	}
	return e, err
}

func (u *busUDP) close() {
	if u.client != nil {
		_ = u.client.Close()
	}
	if u.agent != nil {
		_ = u.agent.Close()
	}
	for _, b := range u.buses {
		_ = b.Close()
	}
}

// openEndpoint makes the endpoint of an end; done ends what it stands on.
func (a *endArgs) openEndpoint(ctx context.Context) (e *rxrpc.Endpoint, done func(), err error) {
	local := netip.MustParseAddrPort("127.0.0.1:0")
	switch {
	case a.Broker != "":
		bus, err := client.Dial(ctx, &client.Config{Socket: a.Broker})
		if err != nil {
			return nil, nil, err
		}
		c, err := rxclient.Dial(ctx, bus, nil)
		if err != nil {
			_ = bus.Close()
			return nil, nil, err
		}
		done = func() {
			_ = c.Close()
			_ = bus.Close()
		}
		e, err = c.Open(local, a.config())
		if err != nil {
			done()
		}
		return e, done, err
	case a.BusUDP:
		u, err := newBusUDP(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		if e, err = u.open(local, a.config()); err != nil {
			u.close()
		}
		return e, u.close, err
	}
	e, err = rxrpc.Open(local, a.config())
	return e, func() {}, err
}
