package rxagent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// An Agent serves the sockets of AF_RXRPC on a bus. See the package comment.
type Agent struct {
	cfg    Config
	bus    connector.Bus
	site   connector.SiteAgent
	post   func(ctx context.Context, m connector.Message, to connector.Dest) error // what a flush follows
	runner runner                                                                  // bus, if it is one
	pool   *rxrpc.Pool
	run    uint64

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	bufs   sync.Pool // of *[]byte, for data of large messages

	sendings sync.Pool

	lastSock atomic.Uint32
	turn     sync.Mutex // held while the callback runs: it has two ids where there is a site
	counters counters
	reading  readings

	mu     sync.Mutex // guards what follows
	owners map[uint32]*owner
	users  map[uint32]*user
	closed bool
	done   chan struct{} // Close is
}

// A runner is a bus on whose goroutine events may leave: it can tell when what was posted elsewhere has been handled, which
// they would overtake.
type runner interface {
	connector.Runner
	Ping(ctx context.Context) error
}

// counters are behind Stats.
type counters struct {
	requests, refused, events, eventBytes, sent atomic.Uint64
}

// Stats is what an agent has done, and has.
type Stats struct {
	Owners, Sockets   int
	Requests, Refused uint64 // messages that came, and those that were answered by an errno
	Events            uint64 // messages that were sent to owners besides replies
	EventBytes        uint64 // of data in them
	SentBytes         uint64 // of data that clients have sent
}

// New registers the agent on bus as "rxrpc". The bus stays the caller's.
func New(ctx context.Context, bus connector.Bus, cfg *Config) (*Agent, error) {
	a := &Agent{
		cfg: cfg.withDefaults(), bus: bus, run: rand.Uint64(), owners: make(map[uint32]*owner), users: make(map[uint32]*user),
		done: make(chan struct{}),
	}
	a.site = connector.SiteAgent{Bus: bus, Name: "rxrpc", ID: rxmsg.SiteID, Log: a.cfg.Logger}
	a.post = func(ctx context.Context, m connector.Message, to connector.Dest) error {
		return connector.Post(ctx, bus, m, to)
	}
	if c, ok := bus.(connector.Corker); ok {
		a.post = c.PostMore
	}
	a.runner, _ = bus.(runner)
	a.pool = rxrpc.NewPool(a.cfg.Open)
	a.lastSock.Store(rand.Uint32() >> 1) // what was meant for a socket of the agent before must not hit one of this
	a.bufs.New = func() any { b := make([]byte, 0, connector.MaxData); return &b }
	a.sendings.New = func() any { return new(sending) }
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := bus.AddCallback(ctx, cbid.RxRPC, "rxrpc", connector.Inline(connector.HandlerFunc(a.handle))); err != nil {
		a.cancel()
		return nil, fmt.Errorf("rxrpc agent: %w", err)
	}
	return a, nil
}

// farewell bounds how long Close waits for clients to be told.
const farewell = time.Second

// Close removes the registration, tells the owners of sockets that these are closed (ESHUTDOWN), and closes them. It is
// idempotent.
func (a *Agent) Close() error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		<-a.done
		return nil
	}
	a.closed = true
	owners := make([]*owner, 0, len(a.owners))
	for _, o := range a.owners {
		owners = append(owners, o)
	}
	a.mu.Unlock()
	defer close(a.done)
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := a.bus.DelCallback(ctx, cbid.RxRPC)
	_ = a.site.Withdraw(ctx) // it goes with the bus at the latest
	for _, o := range owners {
		o.shut(ctx, &rxmsg.Failure{Errno: syscall.ESHUTDOWN, Text: "the RxRPC agent has stopped"})
	}
	a.cancel()
	a.wg.Wait()
	a.pool.CloseUnused()
	if err != nil {
		return fmt.Errorf("rxrpc agent: %w", err)
	}
	return nil
}

// Stats returns the figures of now.
func (a *Agent) Stats() Stats {
	s := Stats{
		Requests: a.counters.requests.Load(), Refused: a.counters.refused.Load(), Events: a.counters.events.Load(),
		EventBytes: a.counters.eventBytes.Load(), SentBytes: a.counters.sent.Load(),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Owners = len(a.owners)
	for _, u := range a.users {
		s.Sockets += u.sockets
	}
	return s
}

// handle is the callback. It does not block, and calls nothing that waits for the bus.
func (a *Agent) handle(ctx context.Context, d *connector.Delivery) {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.counters.requests.Add(1)
	r := request{d: d}
	var err error
	if r.h, r.body, err = rxmsg.ParseHeader(d.Msg.Data); err != nil {
		a.refuse(ctx, &r, err)
		return
	}
	if r.h.Op == rxmsg.OpHello {
		a.hello(ctx, &r)
		return
	}
	o := a.ownerOf(d.From)
	if o == nil {
		a.refuse(ctx, &r, errno(syscall.ESHUTDOWN, "the RxRPC agent has stopped"))
		return
	}
	if r.h.Flags&rxmsg.FlagDeadline != 0 {
		var ns uint64
		if ns, r.body, err = rxmsg.TakeDeadline(r.body); err != nil {
			o.fail(&r, err)
			return
		}
		r.within = time.Duration(min(max(ns, 1), uint64(maxDeadline)))
	}
	o.handle(&r)
}

// maxDeadline is what longer deadlines are cut to.
const maxDeadline = 100 * 365 * 24 * time.Hour

// hello answers HELLO.
func (a *Agent) hello(ctx context.Context, r *request) {
	v, err := rxmsg.ParseU32(r.body)
	if err == nil && v != rxmsg.Version {
		err = errno(syscall.EPROTONOSUPPORT, fmt.Sprintf("version %d, this agent speaks %d", v, rxmsg.Version))
	}
	if err != nil {
		a.refuse(ctx, r, err)
		return
	}
	l := a.limits(r.d.From.Cred.UID)
	h := rxmsg.Hello{
		Version: rxmsg.Version, Sockets: atMost(a.cfg.Limits.Sockets, l.Sockets), Run: a.run, Calls: atMost(a.cfg.Limits.Calls, l.Calls),
		ReceiveWindow: uint32(a.cfg.ReceiveWindow), SendWindow: uint32(a.cfg.SendWindow), Data: uint32(rxmsg.MaxData(rxrpc.SockaddrSize, 64)),
		UserCalls: atMost(math.MaxInt32, l.Calls),
	}
	if connector.HostOf(r.d.From.Port) == 0 {
		a.reply(ctx, r, rxmsg.Reply{}, h.Append(nil))
		return
	}
	r = r.detach()
	greeting := connector.Message{ID: cbid.RxRPC, Data: rxmsg.Header{Op: rxmsg.EventGreeting}.Append(nil)}
	a.site.Greet(r.d.From.Port, greeting, func(err error) {
		switch {
		case errors.Is(err, connector.ErrPermission):
			a.refuse(a.ctx, r, errno(syscall.EACCES, err.Error()))
		case err != nil:
			a.refuse(a.ctx, r, errno(syscall.ENOBUFS, err.Error()))
		default:
			a.reply(a.ctx, r, rxmsg.Reply{}, h.Append(nil))
		}
	})
}

// reply completes a request, from a goroutine that may wait a moment.
func (a *Agent) reply(ctx context.Context, r *request, p rxmsg.Reply, body []byte) {
	if !r.d.Call {
		return
	}
	p.Op = r.h.Op
	if p.Sock == 0 {
		p.Sock = r.h.Sock
	}
	if len(body) > rxmsg.MaxBody {
		body = body[:rxmsg.MaxBody]
	}
	b := make([]byte, 0, rxmsg.HeaderSize+len(body))
	if err := r.d.Reply(ctx, append(p.Append(b), body...)); err != nil {
		a.cfg.Logger.Debug("rxrpc agent: a reply", "port", r.d.From.Port, "error", err)
	}
}

// refuse completes a request that failed and belongs to no socket; it must not wait.
func (a *Agent) refuse(ctx context.Context, r *request, err error) {
	a.counters.refused.Add(1)
	no, text := errnoOf(err)
	a.reply(ctx, r, rxmsg.Reply{Errno: no}, []byte(text))
}
