package proto

import (
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
)

// A peer is what is known of an address with a port, whatever services and
// connections there are (section 3.6 of the reference): round-trip times,
// congestion, path MTU. It outlives its last connection for Timers.PeerIdle.
type peer struct {
	e    *Endpoint
	addr netip.AddrPort
	host *host
	pos  int // in Endpoint.allPeers

	path  cc.Path
	mtu   cc.MTU
	probe *conn // that the MTU probe under way is on
	pmtud bool  // its ACKs say that it sizes jumbos by the path's MTU

	conns   list[conn]
	clients int // connections of which this side is the client
	calls   int // that wait for a connection
	heard   bool
	pinged  Time // of the last NAT keepalive
	sent    Time // last transmission
	idleAt  Time // when the last connection went

	bytesOut, bytesIn uint64
	out, resent       uint64

	keepalive bool // to be sent
	idleNode  node[peer]
	sendNode  node[peer]
	timer     timer
}

// A host is an address, of which Limits are counted.
type host struct {
	addr         netip.Addr
	refs         int
	conns, calls int // of services
	proven       int // of these connections: whose clients have proven themselves
	half         list[halfOpen]
}

func (e *Endpoint) hostOf(addr netip.Addr) *host {
	h := e.hosts[addr]
	if h == nil {
		h = &host{addr: addr}
		h.half.at = onHost
		e.hosts[addr] = h
	}
	return h
}

// peerOf returns what is known of an address, which is nothing at first.
func (e *Endpoint) peerOf(now Time, addr netip.AddrPort) *peer {
	if p := e.peers[addr]; p != nil {
		return p
	}
	if reached(len(e.peers), e.cfg.Limits.Peers) && e.idlePeers.head != nil {
		e.idlePeers.head.forget()
	}
	t := &e.cfg.Timers
	p := &peer{e: e, addr: addr, host: e.hostOf(addr.Addr()), idleAt: now}
	p.host.refs++
	p.conns.at = onPeer
	p.timer.owner = p
	p.mtu.Reset(e.mtuConfig(addr))
	p.path.Configure(cc.Config{MinRTO: cc.Time(t.MinRTO), MaxRTO: cc.Time(t.MaxRTO), Initial: e.cfg.Windows.Initial, Window: e.cfg.Windows.Send})
	e.peers[addr] = p
	p.pos = len(e.allPeers)
	e.allPeers = append(e.allPeers, p)
	e.stats.LivePeers++
	p.rest(now)
	return p
}

// used keeps p from being forgotten.
func (p *peer) used() { p.e.idlePeers.remove(p) }

// rest starts the time after which p is forgotten, if nothing uses it.
func (p *peer) rest(now Time) {
	if p.conns.n == 0 && p.calls == 0 {
		p.idleAt = now
		p.e.idlePeers.add(p)
		p.arm(now)
	}
}

func (p *peer) forget() {
	e := p.e
	e.idlePeers.remove(p)
	e.peersToSend.remove(p)
	e.timers.disarm(&p.timer)
	delete(e.peers, p.addr)
	e.allPeers = swapOut(e.allPeers, p.pos)
	if p.pos < len(e.allPeers) {
		e.allPeers[p.pos].pos = p.pos
	}
	e.stats.LivePeers--
	e.releaseHost(p.host)
}

func (e *Endpoint) releaseHost(h *host) {
	if h.refs--; h.refs == 0 {
		delete(e.hosts, h.addr)
	}
}

// arm sets the timer for what is next: the end, a keepalive, the end of an MTU probe.
func (p *peer) arm(now Time) {
	when := never
	if p.idleNode.on {
		when = p.idleAt.Add(p.e.cfg.Timers.PeerIdle)
	} else if at, ok := p.keepaliveAt(); ok {
		when = at
	}
	if at, ok := p.mtu.Deadline(p.path.RTO()); ok {
		when = min(when, Time(at))
	}
	p.e.timers.arm(&p.timer, when)
}

// keepaliveAt is when a NAT on the way has to be reminded of the mapping: only of peers
// that were heard (OpenAFS NEWS 1.6), only of connections that this side opened.
func (p *peer) keepaliveAt() (Time, bool) {
	every := p.e.cfg.Timers.NATKeepalive
	if every <= 0 || p.clients == 0 || !p.heard {
		return 0, false
	}
	return max(p.sent, p.pinged).Add(every), true
}

func (p *peer) expire(now Time) {
	if p.idleNode.on && now >= p.idleAt.Add(p.e.cfg.Timers.PeerIdle) {
		p.forget()
		return
	}
	if at, ok := p.keepaliveAt(); ok && now >= at {
		p.pinged = now
		p.keepalive = true
		p.e.peersToSend.add(p)
	}
	before := p.mtu.Good()
	p.mtu.OnTimer(cc.Time(now), p.path.RTO())
	p.mtuChanged(now, before)
	p.arm(now)
}
