package rxrpc

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/tsocket"
)

// An Endpoint is a UDP socket that speaks RxRPC, for any number of clients and
// servers at a time. It keeps the connections that their calls have made, and what it has
// learnt about their peers, for the calls that follow.
type Endpoint struct {
	cfg   Config
	dgram *tsocket.Dgram
	local netip.AddrPort
	only  bool       // the socket has no addresses: everything is to and from OnlyPeer
	queue *sendQueue // nil: sends do not wait for anybody
	start time.Time
	log   logger

	tok token

	// Queues that are not in use.
	spare      []*call
	spareTasks []task

	// Of the owner.
	p         *proto.Endpoint
	far       remote.Engine // in place of p and of what is for datagrams
	out       outbox
	timer     alarm
	acceptors map[wire.ServiceID]acceptor
	wokenNow  int32           // callers whose calls ended in this round
	idleFor   []chan struct{} // who waits until nothing is left to be done

	reader   reader
	flusher  flusher
	woken    atomic.Int32 // callers whose calls ended in the last batch
	closed   atomic.Bool
	quit     chan struct{}
	once     sync.Once
	counters counters

	share *sharing // of Shared; nil: of one user
}

// Open makes an endpoint on a local address: the wildcard or one of this host's, IPv4 or
// IPv6 (which is for IPv6 only); port 0 takes a free one. Errors: an *EndpointError with the errno of the
// socket, EADDRINUSE, ...
func Open(local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	addr, err := tsocket.AddrFrom(netip.AddrPortFrom(local.Addr().Unmap(), local.Port()))
	if err != nil {
		return nil, &EndpointError{Op: "open", Local: local, Err: err}
	}
	d, err := openUDP(addr)
	if err != nil {
		return nil, &EndpointError{Op: "open", Local: local, Err: err}
	}
	return newEndpoint(d, cfg), nil
}

func newEndpoint(d *tsocket.Dgram, cfg *Config) *Endpoint {
	e := makeEndpoint(d, cfg.withDefaults())
	e.run()
	return e
}

// makeEndpoint makes an endpoint that does nothing yet.
func makeEndpoint(d *tsocket.Dgram, cfg Config) *Endpoint {
	e := &Endpoint{
		cfg:       cfg,
		dgram:     d,
		local:     d.LocalAddr().AddrPort(),
		start:     time.Now(),
		acceptors: make(map[wire.ServiceID]acceptor),
		quit:      make(chan struct{}),
	}
	e.log = logger{e.cfg.Logger}
	// None of these is needed for anything but speed, or on Linux: without
	// notices a peer that is not there is found out by time-outs.
	_ = d.SetBuffers(e.cfg.ReceiveBuffer, e.cfg.SendBuffer)
	_ = d.SetNotices(true)
	d.EnableGRO()
	pc := e.cfg.proto()
	pc.Hooks = e.hooks()
	e.p = proto.New(pc, e.now())
	e.out.init()
	e.reader = reader{msgs: make([]tsocket.Message, readBatch), handled: make(chan struct{}, 1), done: make(chan struct{})}
	e.flusher.init(e)
	return e
}

func (e *Endpoint) run() {
	go e.flushLoop()
	if o, ok := e.dgram.Ops().(tsocket.PushOps); ok && o.Push(e.pushed) {
		close(e.reader.done) // Close of the socket waits for what the goroutine would be waited for
		return
	}
	go e.readLoop()
}

// LocalAddr returns the address that the socket is bound to.
func (e *Endpoint) LocalAddr() netip.AddrPort { return e.local }

// Close ends all calls of the endpoint by RX_CALL_DEAD and closes the socket. It waits for its
// goroutines, but not for handlers. An endpoint of Shared stays open while others use it, and Config.Retain longer. It is
// idempotent but for that: each user of a shared one closes it once.
func (e *Endpoint) Close() error {
	if e.share != nil {
		return e.share.leave(e)
	}
	e.shut()
	return nil
}

func (e *Endpoint) shut() {
	e.once.Do(func() {
		if e.far != nil {
			e.shutFar()
			return
		}
		e.do(func(now proto.Time) {
			e.p.Close(now)
			e.events(now)
			e.transmit(now) // aborts
		})
		e.closed.Store(true)
		e.tok.mu.Lock()
		e.tok.closed = true
		e.tok.mu.Unlock()
		close(e.quit)
		<-e.flusher.done
		e.do(func(proto.Time) {
			if e.timer.t != nil {
				e.timer.t.Stop()
			}
		})
		if e.queue != nil {
			e.queue.close()
		}
		_ = e.dgram.Close()
		<-e.reader.done
	})
}

// ackEnds acknowledges all replies now.
func (e *Endpoint) ackEnds() {
	if e.far != nil {
		return // whoever runs the protocol will
	}
	e.do(func(now proto.Time) {
		e.p.AckEnds()
		e.transmit(now)
	})
}

// Wait returns when the endpoint has no calls and nothing to send, or ctx ends: to be
// called before Close so that replies arrive. Calls that begin meanwhile are waited for too.
func (e *Endpoint) Wait(ctx context.Context) error {
	for {
		idle := make(chan struct{})
		e.do(func(proto.Time) {
			if e.idle() || e.closed.Load() {
				close(idle)
				return
			}
			e.idleFor = append(e.idleFor, idle)
		})
		select {
		case <-idle:
			return nil
		case <-ctx.Done():
			return &EndpointError{Op: "wait", Local: e.local, Err: context.Cause(ctx)}
		}
	}
}

// tellIdle wakes who waits until nothing is left to be done.
func (e *Endpoint) tellIdle() {
	if len(e.idleFor) == 0 || !e.idle() {
		return
	}
	for _, c := range e.idleFor {
		close(c)
	}
	e.idleFor = nil
}

// An EndpointError says what went wrong with an endpoint or a server.
type EndpointError struct {
	Op    string // "open", "dial", "handle", "wait"
	Local netip.AddrPort
	Err   error
}

func (e *EndpointError) Error() string {
	s := "rxrpc " + e.Op
	if e.Local.IsValid() {
		s += " " + e.Local.String()
	}
	return s + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *EndpointError) Unwrap() error { return e.Err }
