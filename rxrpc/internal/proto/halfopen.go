package proto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A halfOpen is a client's connection that it has yet to prove itself on: what the packet that began it said, the challenge,
// and the client's first packets as they came. There is no connection, no peer and no call before the RESPONSE is
// right, so that a flood of packets from forged addresses, each of which looks like the beginning of a call, costs some
// hundred bytes each, has a bound of its own (Limits.HalfOpen), and takes no place of anybody who is known. At the
// bound the oldest goes; a client in earnest begins again with its next retransmission.
//
// Linux and OpenAFS keep a connection with a call instead, which counts as any other.
type halfOpen struct {
	e       *Endpoint
	host    *host
	svc     *Service
	sec     SecurityConn
	id      ConnID
	service wire.ServiceID // of the connection: after an upgrade the other one
	index   wire.SecurityIndex
	serial  wire.Serial // last one sent
	tries   int         // CHALLENGEs

	held      [][]byte // DATA datagrams
	heldBytes int

	asked     bool // a CHALLENGE was sent
	challenge bool // one is to be sent
	abort     bool // it is over, and an ABORT is to be sent
	code      wire.AbortCode

	challengeAt Time // when the next CHALLENGE may be sent
	heardAt     Time
	timer       timer

	ageNode, hostNode, heldNode, sendNode node[halfOpen]
}

type halfKey struct {
	connKey
	from netip.AddrPort
}

// halves are all of them.
type halves struct {
	byKey  map[halfKey]*halfOpen
	all    list[halfOpen] // oldest first
	held   list[halfOpen] // those that hold packets
	toSend list[halfOpen]
	bytes  int // of packets held
}

func onAge(x *halfOpen) *node[halfOpen]      { return &x.ageNode }
func onHost(x *halfOpen) *node[halfOpen]     { return &x.hostNode }
func onHeld(x *halfOpen) *node[halfOpen]     { return &x.heldNode }
func onHalfSend(x *halfOpen) *node[halfOpen] { return &x.sendNode }

func (s *halves) init() {
	s.byKey = make(map[halfKey]*halfOpen)
	s.all.at, s.held.at, s.toSend.at = onAge, onHeld, onHalfSend
}

func (x *halfOpen) key() halfKey { return halfKey{connKey{x.id.Epoch, x.id.CID}, x.id.Peer} }

// flooded reports whether so many wait for their clients that these are hardly in earnest.
func (e *Endpoint) flooded() bool {
	most := e.cfg.Limits.HalfOpen
	return most >= 0 && 2*e.half.all.n > most
}

// halfOpened begins a connection that its client has to prove itself on, with the first packet. The oldest make room:
// of the address if it has too many, or of all.
func (e *Endpoint) halfOpened(now Time, from netip.AddrPort, s *Service, sc SecurityConn, id ConnID, h *wire.Header, body []byte) {
	l, host := &e.cfg.Limits, e.hostOf(from.Addr())
	host.refs++
	if reached(host.half.n, l.ConnsPerHost) && host.half.head != nil {
		host.half.head.evict()
	}
	for reached(e.half.all.n, l.HalfOpen) && e.half.all.head != nil {
		e.half.all.head.evict()
	}
	x := &halfOpen{e: e, host: host, svc: s, sec: sc, id: id, service: id.Service, index: sc.Index(), heardAt: now}
	x.timer.owner = x
	if s.wantsUpgrade(h) {
		x.service = s.p.UpgradeTo
	}
	e.half.byKey[x.key()] = x
	e.half.all.add(x)
	host.half.add(x)
	e.stats.LiveHalfOpen++
	x.hold(now, h, body)
	x.ask(now, wire.HeaderSize+len(body))
	x.rearm(now)
}

func (x *halfOpen) evict() {
	x.e.stats.HalfOpenEvicted++
	x.forget()
}

// forget ends it; an ABORT that is to be sent still is.
func (x *halfOpen) forget() {
	x.leave()
	x.sec.Wipe()
}

// leave takes it out of everything.
func (x *halfOpen) leave() {
	e := x.e
	x.letGo()
	e.timers.disarm(&x.timer)
	if x.challenge = false; !x.abort {
		e.half.toSend.remove(x)
	}
	e.half.all.remove(x)
	x.host.half.remove(x)
	e.releaseHost(x.host)
	delete(e.half.byKey, x.key())
	e.stats.LiveHalfOpen--
}

// letGo drops the packets that are held; they will come again.
func (x *halfOpen) letGo() {
	x.e.half.bytes -= x.heldBytes
	x.e.half.held.remove(x)
	x.held, x.heldBytes = nil, 0
}

// refuse ends it, and has the client told.
func (x *halfOpen) refuse(now Time, code wire.AbortCode) {
	if x.e.mayReply(now, x.id.Peer, 1) {
		x.abort, x.code = true, code
		x.e.half.toSend.add(x)
	}
	x.forget()
}

// endsAt is when nothing was heard for too long.
func (x *halfOpen) endsAt() Time {
	d := timeout(x.svc.p.Timeouts.Normal, x.e.cfg.Timers.HeardNothing)
	if d <= 0 {
		return never
	}
	return x.heardAt.Add(d)
}

// receive processes a packet from its address.
func (x *halfOpen) receive(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	e := x.e
	if h.Security != x.index {
		e.reject(now, from, h, wire.SecurityInconsistency, "security index of another connection")
		return
	}
	if h.Service != x.service && h.Service != x.id.Service {
		e.reject(now, from, h, wire.ProtocolError, "service of another connection")
		return
	}
	switch {
	case h.Call == 0 && h.Type == wire.TypeResponse:
		x.responded(now, from, h, body)
		return
	case h.Type == wire.TypeAbort:
		x.aborted(now, h)
		return
	case h.Call == 0:
		e.drop(now, from, h, "no packet of a connection")
		return
	case h.Type == wire.TypeData:
		x.heardAt = now
		x.hold(now, h, body)
	}
	x.ask(now, wire.HeaderSize+len(body)) // or for the first time, if it might not be sent before
}

// aborted drops what is held of a call, or all: the client has given up.
func (x *halfOpen) aborted(now Time, h *wire.Header) {
	if h.Call == 0 {
		x.forget()
		return
	}
	begins := h.Append(nil)[4:12] // channel and call
	rest := x.held[:0]
	for _, d := range x.held {
		if bytes.Equal(d[4:12], begins) {
			x.count(-heldCost(d))
			continue
		}
		rest = append(rest, d)
	}
	clear(x.held[len(rest):])
	if x.held = rest; len(rest) == 0 {
		x.letGo()
	}
}

func heldCost(datagram []byte) int { return len(datagram) + heldOverhead }

// heldOverhead is what it costs to hold a datagram besides its bytes.
const heldOverhead = 100

func (x *halfOpen) count(n int) {
	x.heldBytes += n
	x.e.half.bytes += n
}

// hold keeps a DATA packet for the time after the RESPONSE, once, within the bounds: what is too much will come again.
// Nothing is acknowledged: nobody has shown yet that there is somebody.
func (x *halfOpen) hold(now Time, h *wire.Header, body []byte) {
	e, l := x.e, &x.e.cfg.Limits
	n := wire.HeaderSize + len(body) + heldOverhead
	switch {
	case h.Call > wire.MaxCallNumber || h.Seq.After(wire.Seq(e.cfg.Windows.Receive)):
		e.drop(now, x.id.Peer, h, "first packet beyond the window")
		return
	case reached(x.heldBytes+n, l.HeldBytes) || reached(n, l.HalfOpenBytes):
		e.drop(now, x.id.Peer, h, "too much before the client has proven itself")
		return
	}
	d := append(h.Append(make([]byte, 0, wire.HeaderSize+len(body))), body...)
	for _, old := range x.held {
		// Channel, call, seq and checksum: who forges one does not keep the client's out.
		if bytes.Equal(old[4:16], d[4:16]) && bytes.Equal(old[24:26], d[24:26]) {
			e.stats.Duplicates++
			return
		}
	}
	for reached(e.half.bytes+n, l.HalfOpenBytes) {
		e.half.held.head.letGo() // perhaps this one's
	}
	x.held = append(x.held, d)
	x.count(n)
	e.half.held.add(x)
}

// expire repeats the CHALLENGE, or ends it all.
func (x *halfOpen) expire(now Time) {
	if now >= x.endsAt() {
		x.forget()
		return
	}
	if x.e.cfg.Timers.Challenge > 0 && !x.e.flooded() {
		x.ask(now, 0)
	}
	if x.ageNode.on {
		x.rearm(now)
	}
}

// rearm sets the timer for what comes first.
func (x *halfOpen) rearm(now Time) {
	when := x.endsAt()
	if every := x.e.cfg.Timers.Challenge; every > 0 && !x.e.flooded() {
		next := x.challengeAt
		if next <= now { // there have been too many answers of late: not all at once again
			next = now.Add(every / 8 * time.Duration(1+x.id.CID>>2&7))
		}
		when = min(when, next)
	}
	x.e.timers.arm(&x.timer, when)
}

// halfUnreachable forgets one at an address that cannot be reached, if the error quotes what was sent to it.
func (e *Endpoint) halfUnreachable(ne NetError) {
	if len(ne.Quoted) < 8 || ne.Errno == syscall.EMSGSIZE {
		return
	}
	k := connKey{wire.Epoch(binary.BigEndian.Uint32(ne.Quoted)), wire.CID(binary.BigEndian.Uint32(ne.Quoted[4:])).ConnID()}
	if x := e.half.byKey[halfKey{k, ne.To}]; x != nil {
		x.forget()
	}
}

// closeHalf ends those of a service, and has their clients told if the service wants that.
func (s *Service) closeHalf(now Time, abort bool) {
	for x := s.e.half.all.head; x != nil; {
		next := x.ageNode.next
		switch {
		case x.svc != s:
		case abort:
			x.refuse(now, wire.CallDead)
		default:
			x.forget()
		}
		x = next
	}
}
