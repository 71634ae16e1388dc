package rxbench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/bench/role"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

const (
	roleServer = "rx-server"
	roleClient = "rx-client"
	roleBroker = "rx-broker"
)

// Roles are the processes of the suite.
var Roles = map[string]role.Func{roleServer: runServer, roleClient: runClient, roleBroker: runBroker}

// endArgs are how an end is made.
type endArgs struct {
	Peer   netip.AddrPort // of a client
	Large  bool           // the largest packets that the path takes; otherwise no jumbo datagrams
	Calls  bool           // of a server: it serves Nop alone
	Level  string         // of security, as rxpeer has it: clear, auth or crypt; "" none
	Broker string         // socket of the broker whose agent has the endpoint
	BusUDP bool           // the endpoint has its UDP socket from a tsocket agent on a bus within the process
	Open   int            // calls at a time that must be possible; 0: the defaults
}

func (a *endArgs) config() *rxrpc.Config {
	c := &rxrpc.Config{}
	c.MTU.NoJumbo = !a.Large
	if a.Large {
		c.MTU.Interface = 65535
	}
	if a.Open > 0 {
		c.Limits = rxrpc.Limits{ClientCalls: -1, ServiceCalls: -1, CallsPerHost: -1, ServiceConns: -1, ConnsPerHost: -1, ConnsPerBundle: -1}
	}
	return c
}

func runServer(ctx context.Context, p *role.Proc) error {
	var a endArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	e, done, err := a.openEndpoint(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer e.Close()
	s := rxrpc.NewServer(e, a.secureServer(&rxrpc.ServerConfig{Workers: max(a.Open, 1024)}))
	defer s.Close()
	var h rxrpc.Handler = &rxp.Service{Other: (&meeting{}).serve}
	if a.Calls {
		h = rxrpc.Unary(rxp.Fast)
	}
	if err := s.Handle(rxp.ID, h); err != nil {
		return err
	}
	role.Handle(p, opMemory, func(context.Context, struct{}) (memory, error) { return measureMemory(), nil })
	return p.Serve(ctx, e.LocalAddr())
}

// Operations of roles.
const (
	opCalls  = "calls"
	opBulk   = "bulk"
	opFresh  = "fresh" // calls, each on a connection of its own
	opIdle   = "idle"
	opMany   = "many"
	opMemory = "memory"
)

type memory struct{ RSS, Heap float64 } // bytes

func measureMemory() memory {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{RSS: float64(residentBytes()), Heap: float64(m.HeapInuse + m.StackInuse)}
}

type callsArgs struct {
	Callers int
	Time    time.Duration
}

type callsResult struct {
	Calls    uint64
	Took     time.Duration
	P50, P99 float64 // us
}

type bulkArgs struct {
	Up    bool
	Bytes uint64
}

type bulkResult struct {
	Took    time.Duration
	Allocs  uint64
	Packets uint64
}

func runClient(ctx context.Context, p *role.Proc) error {
	var a endArgs
	if err := p.Args(&a); err != nil {
		return err
	}
	e, done, err := a.openEndpoint(ctx)
	if err != nil {
		return err
	}
	defer done()
	defer e.Close()
	cfg, err := a.clientConfig()
	if err != nil {
		return err
	}
	c := &bencher{c: rxp.Client{Client: e.Client(a.Peer, cfg)}}
	role.Handle(p, opCalls, c.calls)
	role.Handle(p, opBulk, c.bulk)
	role.Handle(p, opFresh, func(ctx context.Context, a callsArgs) (callsResult, error) {
		once := *cfg
		once.Exclusive = true
		return (&bencher{c: rxp.Client{Client: e.Client(c.c.Peer(), &once)}}).calls(ctx, a)
	})
	role.Handle(p, opIdle, c.idle)
	role.Handle(p, opMany, c.many)
	return p.Serve(ctx, nil)
}

// bencher is a client that measures.
type bencher struct{ c rxp.Client }

// calls makes calls of 8 bytes with replies of 4, as many as there are callers at a time.
func (b *bencher) calls(ctx context.Context, a callsArgs) (callsResult, error) {
	var stop atomic.Bool
	var total atomic.Uint64
	var mu sync.Mutex
	var failed error
	var took []int64
	var wg sync.WaitGroup
	start := time.Now()
	for range a.Callers {
		wg.Go(func() {
			n, samples, err := b.caller(ctx, &stop)
			total.Add(n)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, samples...)
			if failed == nil {
				failed = err
			}
		})
	}
	time.Sleep(a.Time)
	stop.Store(true)
	wg.Wait()
	r := callsResult{Calls: total.Load(), Took: time.Since(start)}
	r.P50, r.P99 = quantiles(took)
	return r, failed
}

func (b *bencher) caller(ctx context.Context, stop *atomic.Bool) (n uint64, took []int64, err error) {
	request := rxp.Request(rxp.Nop, 0)
	var reply []byte
	for !stop.Load() {
		binary.BigEndian.PutUint32(request[4:], uint32(n))
		began := time.Now()
		reply, err = b.c.AppendCall(ctx, reply[:0], rxp.ID, request)
		if err != nil {
			return n, took, err
		}
		took = append(took, int64(time.Since(began)))
		if len(reply) != 4 || binary.BigEndian.Uint32(reply) != uint32(n)+1 {
			return n, took, fmt.Errorf("call %d: reply %x", n, reply)
		}
		n++
	}
	return n, took, nil
}

// bulk sends or receives in one call.
func (b *bencher) bulk(ctx context.Context, a bulkArgs) (bulkResult, error) {
	before := b.c.Endpoint().Stats()
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	start := time.Now()
	err := b.one(ctx, a)
	r := bulkResult{Took: time.Since(start)}
	runtime.ReadMemStats(&m1)
	after := b.c.Endpoint().Stats()
	r.Allocs, r.Packets = m1.Mallocs-m0.Mallocs, after.DataIn-before.DataIn
	return r, err
}

func (b *bencher) one(ctx context.Context, a bulkArgs) error {
	if a.Up {
		return b.c.Sink(ctx, a.Bytes, false)
	}
	return b.c.Source(ctx, a.Bytes, false)
}

// idle leaves n connections behind at the server.
func (b *bencher) idle(ctx context.Context, n int) (int, error) {
	c := b.c.Endpoint().Client(b.c.Peer(), &rxrpc.ClientConfig{Exclusive: true})
	request := rxp.Request(rxp.Nop, 0)
	for i := range n {
		if _, err := c.Call(ctx, rxp.ID, request); err != nil {
			return i, err
		}
	}
	return n, nil
}

// many has n calls in progress at a time, and returns how many came to their end.
func (b *bencher) many(ctx context.Context, n int) (int, error) {
	request := rxp.Request(opMeet, uint32(n))
	var done atomic.Int64
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := b.c.Call(ctx, rxp.ID, request); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
			done.Add(1)
		})
	}
	wg.Wait()
	return int(done.Load()), failed
}
