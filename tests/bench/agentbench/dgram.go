package agentbench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/bench/harness"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// rxOverBus compares RxRPC between two processes whose datagrams are messages of the bus with the same over UDP.
func rxOverBus(callers int) harness.Experiment {
	row := harness.Row{
		Name: fmt.Sprintf("rx-bus-%d", callers), What: fmt.Sprintf("RxRPC calls of 1 KiB over bus datagrams between two processes, callers: %d", callers),
		Against: "the same over UDP", Unit: "calls/s", Higher: true,
	}
	return harness.Experiment{
		Rows:  []harness.Row{row},
		Cheap: true,
		Open: func(ctx context.Context, env *harness.Env) (harness.Meter, error) {
			m := &rxMeter{streamMeter{cast: &cast{env: env}, op: opCalls}, callers}
			open := func(a pathArgs) (*role.Process, error) {
				if _, err := m.start(ctx, roleRxServer, a, &a.Addr); err != nil {
					return nil, err
				}
				return m.start(ctx, roleRxClient, a, nil)
			}
			socket, err := m.broker(ctx)
			if err == nil {
				m.ours, err = open(pathArgs{Path: pathBus, Addr: socket})
			}
			if err == nil {
				m.rival, err = open(pathArgs{Path: pathUDP})
			}
			if err == nil {
				_, err = m.Measure(ctx, 0) // they warm up
			}
			if err != nil {
				_ = m.Close()
				return nil, err
			}
			return m, nil
		},
	}
}

const (
	pathUDP = "udp"
	opCalls = "calls"

	roleRxServer = "agents-rx-server"
	roleRxClient = "agents-rx-client"
)

type rxMeter struct {
	streamMeter
	callers int
}

// Measure runs both in turn.
func (m *rxMeter) Measure(ctx context.Context, round int) ([]harness.Pair, error) {
	run := func(p *role.Process, sum *moved) func() error {
		return func() error {
			var r moved
			err := p.Do(ctx, opCalls, callArgs{m.callers, m.env.Time(time.Second, 50*time.Millisecond)}, &r)
			sum.N += r.N
			sum.Took += r.Took
			return err
		}
	}
	var ours, rival moved
	err := harness.Alternate(round, m.env.Pick(3, 1), run(m.ours, &ours), run(m.rival, &rival))
	return []harness.Pair{{Ours: ours.rate(), Rival: rival.rate()}}, err
}

// callArgs ask for calls.
type callArgs struct {
	Callers int
	Time    time.Duration
}

// The server's name on the bus, and its service.
var rxName = cbid.Make(0x5000, 2)

const rxService = 1234

// openRx opens an engine on either kind of socket. The node is nil where there is none.
func openRx(ctx context.Context, a pathArgs) (e *rxrpc.Endpoint, n *bussock.Node, publish func() error, done func(), err error) {
	if a.Path == pathUDP {
		e, err = rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
		return e, nil, nil, func() { _ = e.Close() }, err
	}
	n, closeNode, err := openNode(ctx, a.Addr)
	if err != nil {
		return nil, nil, nil, nil, err
	}
	d, err := n.Dgram(nil)
	if err == nil {
		e, err = rxrpc.OpenOn(d, nil)
	}
	if err != nil {
		closeNode()
		return nil, nil, nil, nil, err
	}
	publish = func() error {
		_, err := n.Publish(ctx, rxName, "bench", d)
		return err
	}
	return e, n, publish, func() { _ = e.Close(); closeNode() }, nil
}

func rxServer(ctx context.Context, p *role.Proc) error {
	var a pathArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	e, n, publish, done, err := openRx(ctx, a)
	if err != nil {
		return err
	}
	defer done()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	err = s.Handle(rxService, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	}))
	if err != nil {
		return err
	}
	if n != nil {
		if err := publish(); err != nil {
			return err
		}
		return p.Serve(ctx, a.Addr)
	}
	return p.Serve(ctx, e.LocalAddr().String())
}

func rxClient(ctx context.Context, p *role.Proc) error {
	var a pathArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	e, n, _, done, err := openRx(ctx, a)
	if err != nil {
		return err
	}
	defer done()
	var peer netip.AddrPort
	if n != nil {
		at, err := n.Lookup(ctx, rxName)
		if err != nil {
			return err
		}
		peer = at.AddrPort()
	} else if peer, err = netip.ParseAddrPort(a.Addr); err != nil {
		return err
	}
	c := e.Client(peer, nil)
	role.Handle(p, opCalls, func(ctx context.Context, r callArgs) (moved, error) {
		counts, errs := make([]int, r.Callers), make([]error, r.Callers)
		start := time.Now()
		var all sync.WaitGroup
		for i := range r.Callers {
			all.Go(func() {
				request := make([]byte, pduSize)
				var reply []byte
				for errs[i] == nil && time.Since(start) < r.Time {
					reply, errs[i] = c.AppendCall(ctx, reply[:0], rxService, request)
					counts[i]++
				}
			})
		}
		all.Wait()
		m := moved{Took: time.Since(start)}
		for _, k := range counts {
			m.N += k
		}
		return m, errors.Join(errs...)
	})
	return p.Serve(ctx, nil)
}
