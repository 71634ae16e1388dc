package rxclient

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// An engine is the protocol of an Endpoint, as the agent runs it: a socket of the agent for the calls of clients, which holds the
// port, and one for each service. The owner (package rxrpc) has all of its state but what is below mu.
type engine struct {
	c     *Conn
	local netip.AddrPort
	any   bool // the port is any of the agent's: calls alone are made
	wake  func()

	// Of the owner.
	plain  *farClient         // of calls without security; its socket holds the port
	keyed  map[Key]*farClient // of calls that a key secures
	begun  uint64             // the last tag
	live   int                // calls
	away   error              // why the socket that holds the port has gone; nil while there is one
	events []*farCall         // with news, from head on
	head   int
	free   []*farCall
	out    outbox
	stats  proto.Stats
	closed bool
	taken  []item // of the inbox, in turn with it

	draining map[*farService]struct{} // that are closed, but for replies that have not arrived

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	closing underway // sockets of services

	// mu guards what follows.
	mu        sync.Mutex
	inbox     []item
	noted     bool                   // the reader will ring
	funcs     []func(now proto.Time) // for the owner
	services  map[*farService]struct{}
	mending   bool // the goroutine that opens sockets which are missing is at work
	mendAgain bool
	shutting  bool
}

// A farClient is what the calls of clients of one security have in common.
type farClient struct {
	key     Key        // zero: none
	s       *farSocket // nil: it has to be opened
	waiting []*farCall // until it is
}

// An item is an event of the agent, taken apart by the reader.
type item struct {
	s     *farSocket
	what  rxmsg.Op
	tag   uint64
	bytes uint32     // of EventSent
	name  rxrpc.Addr // of the first EventMsg of a call; or none
	ctl   rxrpc.Control
	flags rxrpc.MsgFlags
	sec   *proto.SecurityInfo // who makes a call of a service, with its first EventMsg; nil if that is not proven
	buf   *proto.Buf          // data, or nil
	err   error               // of an EventError, and why a call has failed; of a socket that is lost
	lost  bool
}

// A farSocket is a socket of the agent.
type farSocket struct {
	e      *engine
	number uint32
	svc    *farService         // nil: of clients
	window int                 // of what may be posted of a call before EventSent
	grant  int                 // how much of a call has come before that is reported
	calls  map[uint64]*farCall // of the owner
	gone   atomic.Bool         // the agent does not know it any more
}

var _ remote.Engine = (*engine)(nil)

// Open makes an endpoint on a local address, as rxrpc.Open does, whose protocol the agent runs: its port is the agent's, what others see
// are packets of the agent. Its clients and servers are those of package rxrpc. When the agent goes calls in progress fail with ErrDown, once; the
// endpoint gets a new socket, at the same port, and its services, as soon as the agent is back, and calls that begin meanwhile wait for that; those that
// end before, as their context or a time-out has it, say ErrDown too.
//
// Of cfg the Logger counts; the rest is the agent's to say. Errors: an *rxrpc.EndpointError with the errno, EADDRINUSE, EACCES (the agent's policy), ...
func (c *Conn) Open(local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	return c.openEndpoint(c.ctx, local, true, cfg)
}

// Dial returns a client of the services at addr, as rxrpc.Dial does, whose calls leave from the port that the agent uses for all who do
// not want one of their own.
func (c *Conn) Dial(addr string, cfg *rxrpc.ClientConfig) (*rxrpc.Client, error) {
	peer, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, &rxrpc.EndpointError{Op: "dial", Err: err}
	}
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if !peer.Addr().Unmap().Is4() {
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	e, err := c.openEndpoint(c.ctx, local, false, nil)
	if err != nil {
		return nil, err
	}
	return e.OwnClient(peer, cfg), nil
}

func (c *Conn) openEndpoint(ctx context.Context, local netip.AddrPort, own bool, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	e := &engine{c: c, any: !own, keyed: make(map[Key]*farClient), draining: make(map[*farService]struct{}), services: make(map[*farService]struct{}), wake: func() {}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.out.init(e)
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	fail := func(err error) (*rxrpc.Endpoint, error) {
		e.cancel()
		return nil, &rxrpc.EndpointError{Op: "open", Local: local, Err: err}
	}
	s, at, err := e.bind(ctx, rxmsg.Socket{OwnPort: own}, local, 0)
	if err != nil {
		return fail(err)
	}
	e.plain, e.local = &farClient{s: s}, at
	if !c.own(e) {
		e.closeSocket(s)
		return fail(rxrpc.ErrClosed)
	}
	x := rxrpc.OnEngine(e, cfg)
	return x, nil
}

// bind opens a socket of the agent that is bound to an address and, unless it is 0, to a service, after prepare has done what comes before that. It returns
// the address that it has got.
func (e *engine) bind(ctx context.Context, how rxmsg.Socket, local netip.AddrPort, service uint16, prepare ...func(*farSocket) error) (*farSocket, netip.AddrPort, error) {
	s := &farSocket{e: e, calls: make(map[uint64]*farCall)}
	family := rxrpc.Inet
	if !local.Addr().Is4() {
		family = rxrpc.Inet6
	}
	hello := e.c.limits()
	s.window = int(hello.SendWindow)
	s.grant = int(hello.ReceiveWindow) / 2
	var err error
	if s.number, err = e.c.open(ctx, family, how, s); err != nil {
		return nil, local, err
	}
	for _, f := range prepare {
		if err = f(s); err != nil {
			e.closeSocket(s)
			return nil, local, err
		}
	}
	_, body, err := e.c.call(ctx, rxmsg.Header{Op: rxmsg.OpBind, Sock: s.number}, rxrpc.Addr{Service: service, Addr: local}.AppendRaw(nil))
	if err != nil {
		e.closeSocket(s)
		return nil, local, err
	}
	at := rxrpc.Addr{Addr: local}
	if len(body) > 0 {
		if at, err = rxrpc.ParseAddr(body, 6); err != nil {
			e.closeSocket(s)
			return nil, local, err
		}
	}
	return s, at.Addr, nil
}

// closeSocket closes a socket of the agent, and waits for that. Anybody but the owner may call it.
func (e *engine) closeSocket(s *farSocket) {
	e.c.forget(s.number, s)
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_, _, _ = e.c.call(ctx, rxmsg.Header{Op: rxmsg.OpClose, Sock: s.number}, nil)
}

// closeWait is how long is waited for the agent when something is closed, which it does all the same.
const closeWait = 2 * time.Second

// Start is of remote.Engine.
func (e *engine) Start(wake func()) {
	e.mu.Lock()
	e.wake = wake
	e.mu.Unlock()
	wake()
}

// LocalAddr is of remote.Engine.
func (e *engine) LocalAddr() netip.AddrPort { return e.local }

// Stats is of remote.Engine: what is known here.
func (e *engine) Stats() proto.Stats {
	s := e.stats
	s.LiveCalls = e.live
	return s
}

// Idle is of remote.Engine.
func (e *engine) Idle() bool { return e.live == 0 && e.out.empty() }

// put gives the owner something to take in.
func (e *engine) put(i item) {
	e.mu.Lock()
	e.inbox = append(e.inbox, i)
	wake := e.wake
	e.mu.Unlock()
	wake()
}

// note is put for the reader, which rings when it has noted all that has come together.
func (e *engine) note(i item) {
	e.mu.Lock()
	first := !e.noted
	e.noted = true
	e.inbox = append(e.inbox, i)
	e.mu.Unlock()
	if first {
		e.c.fresh = append(e.c.fresh, e)
	}
}

// ring has the owner take in what was noted.
func (e *engine) ring() {
	e.mu.Lock()
	e.noted = false
	wake := e.wake
	e.mu.Unlock()
	wake()
}

// run has the owner run fn.
func (e *engine) run(fn func(now proto.Time)) {
	e.mu.Lock()
	e.funcs = append(e.funcs, fn)
	wake := e.wake
	e.mu.Unlock()
	wake()
}

// Receive is of remote.Engine.
func (e *engine) Receive(now proto.Time) {
	e.mu.Lock()
	items, funcs := e.inbox, e.funcs
	e.inbox, e.funcs = e.taken[:0], nil
	e.mu.Unlock()
	for k := range items {
		e.takeIn(now, &items[k])
	}
	clear(items)
	e.taken = items
	for _, fn := range funcs {
		fn(now)
	}
}

// Event is of remote.Engine.
func (e *engine) Event() (remote.Event, bool) {
	for e.head < len(e.events) {
		c := e.events[e.head]
		e.events[e.head] = nil
		if e.head++; e.head == len(e.events) {
			e.events, e.head = e.events[:0], 0
		}
		what := c.news
		c.news, c.queued = 0, false
		if what != 0 && !c.released {
			return remote.Event{Call: c, What: what}, true
		}
	}
	return remote.Event{}, false
}

// NewCall is of remote.Engine.
func (e *engine) NewCall(_ proto.Time, p *proto.CallParams) (remote.Call, error) {
	switch {
	case e.closed:
		return nil, proto.ErrClosed
	case !p.Peer.IsValid():
		return nil, proto.ErrAddress
	}
	c := e.newCall()
	e.begun++
	c.tag, c.client, c.peer, c.service, c.userTag = e.begun, true, p.Peer, uint16(p.Service), p.Tag
	c.begin = begin{upgrade: p.Upgrade, exclusive: p.Exclusive, timeouts: p.Timeouts, length: p.TxLength, hasLength: p.HasTxLength}
	e.stats.ClientCalls++
	f := e.plain
	if p.Security != nil {
		key, ok := p.Security.(*Key)
		if !ok {
			c.fail(proto.Result{Completion: proto.LocalError, Errno: errnoKey, Err: errForeignKey})
			return c, nil
		}
		if f = e.keyed[*key]; f == nil {
			f = &farClient{key: *key}
			e.keyed[f.key] = f
			e.mend()
		}
	}
	if c.watch(); f.s == nil {
		c.waits = true
		f.waiting = append(f.waiting, c)
	} else {
		f.s.add(c)
	}
	return c, nil
}

// add makes c a call of the socket.
func (s *farSocket) add(c *farCall) {
	c.s, c.room = s, s.window
	s.calls[c.tag] = c
}

// Flush is of remote.Engine.
func (e *engine) Flush(proto.Time) { e.out.flush() }

// Close is of remote.Engine.
func (e *engine) Close(proto.Time) {
	if e.closed {
		return
	}
	e.closed = true
	r := proto.Result{Completion: proto.LocallyAborted, Code: wire.CallDead, Errno: errnoShutdown, Why: "the endpoint was closed"}
	e.mu.Lock()
	e.shutting = true
	services := e.services
	e.services = nil
	e.mu.Unlock()
	for s := range services {
		s.end(r)
	}
	for s := range e.draining {
		s.drained()
	}
	for _, f := range e.clients() {
		f.fail(r)
	}
	e.cancel()
}

// clients returns all of them.
func (e *engine) clients() []*farClient {
	all := []*farClient{e.plain}
	for _, f := range e.keyed {
		all = append(all, f)
	}
	return all
}

// fail ends all of the calls.
func (f *farClient) fail(r proto.Result) {
	waiting := f.waiting
	f.waiting = nil
	for _, c := range waiting {
		c.waits = false
		c.fail(r)
	}
	if f.s != nil {
		f.s.failAll(r)
	}
}

// End is of remote.Engine.
func (e *engine) End() {
	e.c.disown(e)
	e.out.close()
	e.wg.Wait()
	for _, f := range e.clients() { // there is no owner any more
		if f.s != nil && !f.s.gone.Load() {
			e.closeSocket(f.s)
		}
	}
}

// shutdown is Close when the Conn is closed: the calls end, and the endpoint is of no use.
func (e *engine) shutdown() {
	ended := make(chan struct{})
	e.run(func(now proto.Time) {
		e.Close(now)
		close(ended)
	})
	<-ended
	e.out.close()
	e.wg.Wait()
}
