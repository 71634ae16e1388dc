package tsagent

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// Name is what the agent is registered as.
const Name = "tsocket"

// Agent is the tsocket agent on a bus. Its methods may be called from any goroutine.
type Agent struct {
	bus  connector.Bus
	site connector.SiteAgent
	cfg  Config

	ctx  context.Context // of everything that follows owners
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	ending bool       // Close was called
	closed bool
	next   uint32
	socks  map[uint32]*sock
	owners map[uint32]*owner
	uids   map[uint32]*account

	places map[portKey][]place // where sockets are bound

	reading []*reading // who reads a snapshot, the latest last

	reserved int                // of socks: places for what will be accepted
	linger   map[*sock]struct{} // closed, but what was written is not written yet

	stats counters

	sinks connector.Endpoint // which sends to sinks; nil: there are none

	turn    sync.Mutex // held while the handler runs: it has two ids where there is a site; guards what follows
	request request
	msgs    []tsocket.Message
	names   rawNames
	batch   BatchWriter
	grant   [HeaderLen]byte
}

// account is what the sockets of a uid have in use.
type account struct{ sockets, bytes int }

// New registers the agent on bus. Close takes that back; the bus is the caller's. ErrDuplicate of package
// connector if another agent is there.
func New(ctx context.Context, bus connector.Bus, c *Config) (*Agent, error) {
	a := &Agent{
		bus: bus, cfg: c.withDefaults(),
		socks: make(map[uint32]*sock), owners: make(map[uint32]*owner), uids: make(map[uint32]*account),
		linger: make(map[*sock]struct{}), places: make(map[portKey][]place),
	}
	a.site = connector.SiteAgent{Bus: bus, Name: Name, ID: SiteID, Log: a.cfg.Logger}
	a.ctx, a.stop = context.WithCancel(context.Background())
	if a.cfg.Sinks { // a Bus sends to the group of an id, an endpoint to its callback
		var err error
		if a.sinks, err = bus.Endpoint(ctx); err != nil {
			a.stop()
			return nil, err
		}
	}
	if err := bus.AddCallback(ctx, cbid.TSocket, Name, connector.Inline(handler{a})); err != nil {
		a.stop()
		a.closeSinks()
		return nil, err
	}
	return a, nil
}

// farewell bounds how long Close waits for a bus that may be gone.
const farewell = time.Second

// Close unregisters the agent, closes all sockets and waits for its goroutines. It is idempotent.
func (a *Agent) Close() error {
	a.mu.Lock()
	ending := a.ending
	a.ending = true
	a.mu.Unlock()
	if ending {
		a.wg.Wait()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := a.bus.DelCallback(ctx, cbid.TSocket)
	_ = a.site.Withdraw(ctx) // it goes with the bus at the latest
	a.mu.Lock()
	a.closed = true
	var all []*owner
	for _, o := range a.owners {
		all = append(all, o)
	}
	a.mu.Unlock()
	for _, o := range all {
		o.end()
		o.unfollow()
	}
	a.stop()
	a.mu.Lock()
	var left []*sock
	for s := range a.linger {
		left = append(left, s)
	}
	a.mu.Unlock()
	for _, s := range left {
		s.stopOut()
	}
	a.wg.Wait()
	a.closeSinks()
	return err
}

func (a *Agent) closeSinks() {
	if a.sinks != nil {
		_ = a.sinks.Close()
	}
}

// spawn runs f on a goroutine that Close waits for. It reports false, and does not, when the
// agent is closed.
func (a *Agent) spawn(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.wg.Go(f)
	return true
}

// handler keeps Handle out of the Agent's methods.
type handler struct{ a *Agent }

// Handle runs for one request at a time and never blocks: what has to wait does so on a goroutine of
// the socket.
func (h handler) Handle(ctx context.Context, d *connector.Delivery) {
	a := h.a
	a.turn.Lock()
	defer a.turn.Unlock()
	a.stats.requests.Add(1)
	head, body, err := ParseHeader(d.Msg.Data)
	r := &a.request // nobody keeps it
	*r = request{a: a, d: d, h: head, body: body}
	defer r.forget()
	if err != nil {
		r.fail(err)
		return
	}
	if head.Op < OpHello || head.Op > lastOp {
		r.fail(&Error{syscall.EOPNOTSUPP, fmt.Sprintf("unknown operation %#x", uint16(head.Op))})
		return
	}
	switch head.Op {
	case OpHello:
		r.hello()
		return
	case OpOpen:
		r.fail(r.open())
		return
	case OpStat:
		r.fail(r.stat())
		return
	}
	s := a.find(head.Sock, d.From.Port)
	if s == nil {
		r.fail(&Error{syscall.EBADF, fmt.Sprintf("%v: no socket %d of yours", head.Op, head.Sock)})
		return
	}
	r.s = s
	s.claim()
	if err := s.isBusy(head.Op); err != nil {
		r.fail(err)
		return
	}
	if head.Flags&FlagMore != 0 && head.Op != OpSendTo {
		r.fail(invalid(head.Op.String() + " does not come in several messages"))
		return
	}
	err = handlers[head.Op](s, r)
	if err != nil && r.op != nil {
		r.op.drop()
	}
	r.fail(err)
}

// handlers are the operations on a socket. An error is the completion; without one the operation completes
// by itself.
var handlers = [...]func(s *sock, r *request) error{
	OpBind: (*sock).bind, OpConnect: (*sock).doConnect, OpListen: (*sock).listen, OpAccept: (*sock).accept,
	OpSendTo: (*sock).sendTo, OpRecvFrom: (*sock).recvFrom, OpReadv: (*sock).readv, OpWritev: (*sock).writev,
	OpPending: (*sock).pending, OpMonitor: (*sock).doMonitor, OpDisconnect: (*sock).disconnect,
	OpCloseWrite: (*sock).closeWrite, OpClose: (*sock).doClose, OpGetName: (*sock).getName, OpSetOpt: (*sock).setOpt,
	OpGetOpt: (*sock).getOpt, OpWindow: (*sock).window, OpCancel: (*sock).cancel,
}

// find returns the socket with that number if it belongs to port.
func (a *Agent) find(num, port uint32) *sock {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.socks[num]; s != nil && s.own.port == port && !s.reserved {
		return s
	}
	return nil
}

// counters count since the beginning.
type counters struct {
	requests, failed, denied, opened            atomic.Uint64
	bytesIn, bytesOut, datagramsIn, datagramOut atomic.Uint64
	events                                      atomic.Uint64
}
