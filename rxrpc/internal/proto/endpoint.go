package proto

import (
	"encoding/binary"
	"io"
	"maps"
	"net/netip"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// An Endpoint is one UDP port's worth of RxRPC.
type Endpoint struct {
	cfg    Config
	hooks  *Hooks
	epoch  wire.Epoch
	cid    wire.CID // given last
	closed bool

	services map[wire.ServiceID]*Service
	bundles  map[bundleKey]*bundle
	clients  map[wire.CID]*conn // of which this side is the client
	conns    map[connKey]*conn  // of services
	peers    map[netip.AddrPort]*peer
	hosts    map[netip.Addr]*host

	clientCalls, serviceCalls int

	events      list[Call]
	callsToSend list[Call]
	connsToSend list[conn]
	peersToSend list[peer]
	idlePeers   list[peer]
	half        halves

	idleClients, idleServices, dying list[conn]
	idleTimer                        idleTimer

	timers    timerHeap
	limiter   limiter
	replies   replies
	txPool    txPool
	freeCalls *Call
	freeSlots []*slots
	soft      [wire.MaxSoftAcks]byte
	sealing   [sealBatch]Sealing
	sealed    [sealBatch]*txBuf

	allConns []*conn // in the order in which rxdebug counts
	allPeers []*peer
	stats    Stats
}

// New makes an endpoint. It panics if Config.Rand fails, as crypto/rand never does.
func New(cfg Config, now Time) *Endpoint {
	cfg = cfg.withDefaults()
	e := &Endpoint{
		cfg: cfg, hooks: cfg.Hooks, epoch: cfg.Epoch,
		services: make(map[wire.ServiceID]*Service),
		bundles:  make(map[bundleKey]*bundle),
		clients:  make(map[wire.CID]*conn),
		conns:    make(map[connKey]*conn),
		peers:    make(map[netip.AddrPort]*peer),
		hosts:    make(map[netip.Addr]*host),
	}
	e.events.at, e.callsToSend.at = onEvents, onSend
	e.connsToSend.at, e.peersToSend.at, e.idlePeers.at = onConnSend, onPeerSend, onPeerIdle
	e.idleClients.at, e.idleServices.at, e.dying.at = onIdle, onIdle, onIdle
	e.half.init()
	e.idleTimer.e, e.idleTimer.owner = e, &e.idleTimer
	var r [16]byte
	if _, err := io.ReadFull(cfg.Rand, r[:]); err != nil {
		panic("rxrpc: no random numbers: " + err.Error())
	}
	if e.epoch == 0 {
		e.epoch = wire.Epoch(binary.BigEndian.Uint32(r[:])) | wire.RandomEpoch
	}
	e.cid = wire.CID(binary.BigEndian.Uint32(r[4:])).ConnID()
	e.limiter.init(binary.BigEndian.Uint64(r[8:]), cfg.Limits.RepliesPerSecond, cfg.Limits.RepliesInAll)
	return e
}

// Epoch returns the epoch of the endpoint's client connections.
func (e *Endpoint) Epoch() wire.Epoch { return e.epoch }

// NewCall begins a client call. Errors: ErrAddress, ErrService, ErrCalls, ErrClosed, and what the security class says
// of its key.
func (e *Endpoint) NewCall(now Time, p *CallParams) (*Call, error) {
	q := *p
	if q.Peer.Addr().Is4In6() {
		q.Peer = netip.AddrPortFrom(q.Peer.Addr().Unmap(), q.Peer.Port())
	}
	switch {
	case e.closed:
		return nil, ErrClosed
	case !sendable(q.Peer):
		return nil, ErrAddress
	case q.Service == 0:
		return nil, ErrService
	case reached(e.clientCalls, e.cfg.Limits.ClientCalls):
		return nil, ErrCalls
	}
	b := e.bundleOf(now, &q)
	c := e.newCall(now, b.peer, true)
	c.Tag, c.bundle, c.service, c.times, c.state = q.Tag, b, b.service, q.Timeouts, AwaitConn
	if q.HasTxLength && q.TxLength >= 0 {
		c.tx.left = q.TxLength
	}
	if d := q.Timeouts.Hard; d > 0 {
		c.hardAt = now.Add(d)
	}
	b.calls++
	b.peer.calls++
	b.peer.used()
	e.clientCalls++
	e.stats.ClientCalls++
	if err := b.assign(now, c); err != nil {
		c.released = true
		c.complete(now, securityFailed(err))
		return nil, err
	}
	e.callsToSend.add(c)
	return c, nil
}

// Tick does what is due.
func (e *Endpoint) Tick(now Time) { e.timers.run(now) }

// Deadline returns when Tick is wanted; false if nothing is waited for.
func (e *Endpoint) Deadline() (Time, bool) { return e.timers.deadline() }

// NetError is what the network or this host says of datagrams sent.
type NetError struct {
	To    netip.AddrPort
	Errno syscall.Errno
	// Local: this host refused (a failed send); otherwise the path said so (ICMP).
	Local bool
	// MTU of the path in bytes of IP packet if it is known, with EMSGSIZE.
	MTU int
	// Length of the datagram if this host refused it.
	Length int
	// Quoted is what is known of the datagram that caused it, from the Rx header on. What
	// ICMP says is ignored unless this shows a connection that is there.
	Quoted []byte
}

// NetError processes an error. EMSGSIZE changes the path's MTU, others end calls.
func (e *Endpoint) NetError(now Time, ne NetError) {
	if ne.To.Addr().Is4In6() {
		ne.To = netip.AddrPortFrom(ne.To.Addr().Unmap(), ne.To.Port())
	}
	e.halfUnreachable(ne)
	p := e.peers[ne.To]
	if p == nil || !ne.Local && !p.quoted(ne.Quoted) {
		return
	}
	if ne.Errno == syscall.EMSGSIZE {
		before := p.mtu.Good()
		switch {
		case ne.MTU > 0 || !ne.Local:
			p.mtu.TooBig(cc.Time(now), ne.MTU)
		case ne.Length > wire.HeaderSize:
			p.mtu.Refused(cc.Time(now), ne.Length-wire.HeaderSize)
		}
		p.mtuChanged(now, before)
		return
	}
	r := Result{Completion: NetworkError, Errno: ne.Errno, Why: "the network"}
	if ne.Local {
		r = Result{Completion: LocalError, Code: wire.UserAbort, Errno: ne.Errno, Why: "this host"}
	} else if ne.Errno == syscall.EACCES && !p.addr.Addr().Is4() {
		r.Errno = syscall.EHOSTUNREACH // ICMPv6 administratively prohibited (Linux)
	}
	for c := p.conns.head; c != nil; {
		next := c.peerNode.next // calls end, their connections stay for a time
		for i := range c.channels {
			if call := c.channels[i].call; call != nil && (call.exposed || !c.client) {
				call.complete(now, r)
			}
		}
		c = next
	}
}

// quoted reports whether b, which an ICMP message quotes, is the beginning of a packet of a
// connection with the peer: whoever forges one has to know its epoch and id.
func (p *peer) quoted(b []byte) bool {
	if len(b) < 8 {
		return false
	}
	epoch, cid := wire.Epoch(binary.BigEndian.Uint32(b)), wire.CID(binary.BigEndian.Uint32(b[4:])).ConnID()
	for c := p.conns.head; c != nil; c = c.peerNode.next {
		if c.id.Epoch == epoch && c.id.CID == cid {
			return true
		}
	}
	return false
}

// Close ends all calls by RX_CALL_DEAD and refuses everything from then on. What is left to be sent (aborts, final
// ACKs) is to be transmitted once more.
func (e *Endpoint) Close(now Time) {
	if e.closed {
		return
	}
	e.closed = true
	for _, id := range slices.Sorted(maps.Keys(e.services)) { // the same order every time
		if s := e.services[id]; s != nil {
			s.Close(now, true)
		}
	}
	for _, c := range e.allConns {
		for b := c.bundle; b != nil && b.waiting.head != nil; {
			b.waiting.head.abort(now, wire.CallDead, syscall.ESHUTDOWN, "the endpoint was closed", nil)
		}
		for i := range c.channels {
			ch := &c.channels[i]
			if call := ch.call; call != nil {
				call.abort(now, wire.CallDead, syscall.ESHUTDOWN, "the endpoint was closed", nil)
			}
		}
	}
	e.AckEnds()
}

// AckEnds acknowledges the replies whose ends wait for the next call on their channel to do it: for when there may be no
// next one, and nobody to do it later. Otherwise their servers keep the calls, and send again to whoever has gone.
func (e *Endpoint) AckEnds() {
	for _, c := range e.allConns {
		for i := range c.channels {
			if ch := &c.channels[i]; ch.finalAt != never {
				ch.finalAt, ch.due, ch.reason, ch.answers = never, true, wire.AckIdle, 0
				e.connsToSend.add(c)
			}
		}
	}
}

// Idle reports whether the endpoint has no calls and nothing to send.
func (e *Endpoint) Idle() bool {
	return e.clientCalls == 0 && e.serviceCalls == 0 && e.replies.n == 0 && e.connsToSend.n == 0 && e.half.toSend.n == 0 && e.callsToSend.n == 0
}
