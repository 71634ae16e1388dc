package proto

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// connKey finds the connections of clients. Addresses are compared after: the same epoch
// and cid can come from several.
type connKey struct {
	epoch wire.Epoch
	cid   wire.CID
}

// whyNewCall is why a call ends whose client has begun the next one.
const whyNewCall = "the client has begun another call"

// toServer processes a packet from a client.
func (e *Endpoint) toServer(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	first := e.conns[connKey{h.Epoch, h.CID.ConnID()}]
	for c := first; c != nil; c = c.sibling {
		if c.peer.addr != from {
			continue
		}
		if h.Call > c.channels[h.CID.Channel()].number && first.sibling != nil && h.Epoch.Random() && first.seen(h) {
			e.drop(now, from, h, "call that was begun at another address")
			return
		}
		c.receive(now, from, h, body)
		return
	}
	if x := e.half.byKey[halfKey{connKey{h.Epoch, h.CID.ConnID()}, from}]; x != nil {
		x.receive(now, from, h, body)
		return
	}
	if first != nil && h.Epoch.Random() && e.moved(now, from, first, h, body) {
		return
	}
	e.nextCall(now, from, nil, h, body)
}

// moved decides about a packet of a connection from an address where it was not before: a NAT
// has forgotten its mapping, somebody lies, or the client has several addresses. A random epoch
// identifies the connection wherever it comes from (rx-spec), but only a packet that the security class
// vouches for moves it. Without that nothing is sent to the other address. The next call may come
// from there, on a connection of its own; one that has been seen already may not, or it would be
// executed twice.
func (e *Endpoint) moved(now Time, from netip.AddrPort, first *conn, h *wire.Header, body []byte) bool {
	for c := first; c != nil; c = c.sibling {
		if h.Type == wire.TypeData && c.secured && c.state == connOpen && h.Security == c.index && h.Call != 0 {
			id := PacketID{Call: h.Call, Channel: h.CID.Channel(), Seq: h.Seq, ToServer: true}
			if c.sec.Check(id, h.Checksum) == nil && sendable(from) {
				c.move(now, from)
				c.receive(now, from, h, body)
				return true
			}
		}
	}
	if h.Call == 0 || first.seen(h) {
		e.drop(now, from, h, "connection of another address")
		return true
	}
	return false
}

// seen reports whether the connection, at any of its addresses, has had the call of h or
// a later one on the channel.
func (c *conn) seen(h *wire.Header) bool {
	for ; c != nil; c = c.sibling {
		if h.Call <= c.channels[h.CID.Channel()].number {
			return true
		}
	}
	return false
}

// move makes from the address of the connection's client.
func (c *conn) move(now Time, from netip.AddrPort) {
	old := c.peer
	p := c.e.peerOf(now, from)
	p.used()
	old.conns.remove(c)
	old.host.conns--
	old.host.proven--
	if old.probe == c {
		old.probe = nil
	}
	p.conns.add(c)
	p.host.conns++
	p.host.proven++
	c.peer = p
	for i := range c.channels {
		if call := c.channels[i].call; call != nil {
			old.host.calls--
			p.host.calls++
			call.repath(p)
		}
	}
	old.rest(now)
}

// nextCall decides about a packet of a call that is not there yet: rules 9 and 10 of section 1.2. c is
// its connection, or nil.
func (e *Endpoint) nextCall(now Time, from netip.AddrPort, c *conn, h *wire.Header, body []byte) {
	switch {
	case h.Type == wire.TypeAbort || h.Type == wire.TypeResponse:
		e.drop(now, from, h, "no such call")
		return
	case h.Type != wire.TypeData && (c != nil || e.crowded(h)):
		// It has overtaken the first packet of its call, or that was told BUSY. An ABORT would
		// end a call that is just about to begin.
		e.drop(now, from, h, "no such call yet")
		return
	case h.Type != wire.TypeData:
		e.reject(now, from, h, wire.ProtocolError, "no such call")
		return
	case h.Call > wire.MaxCallNumber:
		e.reject(now, from, h, wire.ProtocolError, "call number too large")
		return
	}
	if c != nil && c.state == connAborted {
		code := c.code
		if code == 0 {
			code = wire.CallDead
		}
		e.reject(now, from, h, code, "a call of a connection that was aborted")
		return
	}
	if c != nil && !c.plain {
		id := PacketID{Call: h.Call, Channel: h.CID.Channel(), Seq: h.Seq, ToServer: true}
		if err := c.sec.Check(id, h.Checksum); err != nil {
			e.stats.ChecksumBad++
			e.reject(now, from, h, codeOf(err, wire.ProtocolError), "checksum")
			return
		}
		if err := c.sec.Expired(now); err != nil {
			c.abortAll(now, codeOf(err, wire.ProtocolError), errnoOf(err, errno.KeyExpired), "the key has expired", err)
			return
		}
	}
	s, sec := e.serviceFor(now, from, c, h)
	if s == nil {
		return
	}
	if h.Seq > wire.MaxSoftAcks && c == nil {
		// No window is so large: it has had a call here, before a restart. OpenAFS drops it, and
		// Linux makes a call of it that can never be; the client had better know.
		e.reject(now, from, h, wire.CallDead, "a call that has been lost")
		return
	}
	if h.Seq.After(wire.Seq(e.cfg.Windows.Receive)) {
		e.drop(now, from, h, "first packet beyond the window")
		return
	}
	l := &e.cfg.Limits
	if !s.hasRoom() && sec == nil {
		e.drop(now, from, h, "nobody takes the call")
		e.busy(now, from, h)
		return
	}
	if c != nil && reached(e.serviceCalls, l.ServiceCalls) && !e.endsOne(c, h) {
		e.drop(now, from, h, tooManyCalls)
		e.busy(now, from, h)
		return
	}
	if c == nil {
		if c = e.acceptConn(now, from, s, sec, h, body); c == nil {
			return
		}
	} else if !e.endsOne(c, h) && reached(c.peer.host.calls, l.CallsPerHost) {
		e.drop(now, from, h, "too many calls of one host")
		e.busy(now, from, h)
		return
	}
	e.beginService(now, c, s, h, body)
}

// crowded reports whether the service takes no calls at present, or has perhaps forgotten this one in a flood.
func (e *Endpoint) crowded(h *wire.Header) bool {
	s := e.services[h.Service]
	if s != nil && h.Security != wire.SecurityNone && e.flooded() {
		return true
	}
	return s != nil && !s.hasRoom()
}

// endsOne reports whether the packet's call takes the place of one.
func (e *Endpoint) endsOne(c *conn, h *wire.Header) bool {
	return c != nil && c.channels[h.CID.Channel()].call != nil
}

// serviceFor finds the service and, for a new connection, its class.
func (e *Endpoint) serviceFor(now Time, from netip.AddrPort, c *conn, h *wire.Header) (*Service, ServerSecurity) {
	s := e.services[h.Service]
	if c != nil && s != nil {
		if c.svc.closed && !c.handOver(s) {
			// What its client has proven it has not proven to this one: it must begin again.
			c.abortAll(now, wire.CallDead, syscall.ESHUTDOWN, "the service of the connection was closed", nil)
			return nil, nil
		}
		s = c.svc
	}
	if s == nil || s.closed || s.refusing {
		if h.Seq == 1 {
			e.reject(now, from, h, wire.InvalidOperation, "no such service")
		} else {
			e.drop(now, from, h, "no such service")
		}
		return nil, nil
	}
	if c != nil {
		return s, nil
	}
	if h.Security == wire.SecurityNone {
		if s.p.Secured {
			e.reject(now, from, h, wire.InvalidOperation, "no calls without security")
			return nil, nil
		}
		return s, nil
	}
	for _, sec := range s.p.Security {
		if sec.Index() == h.Security {
			return s, sec
		}
	}
	e.reject(now, from, h, wire.InvalidOperation, "no such security class")
	return nil, nil
}

// handOver gives a connection, whose service was closed, to the one that is there in its place.
func (c *conn) handOver(s *Service) bool {
	if !c.plain || s.p.Secured || !slices.Contains(s.p.IDs, c.service) {
		return false
	}
	c.svc = s
	return true
}

// acceptConn begins a service connection. Of a class that wants the client to prove itself it is half open for now, and the
// result is nil.
func (e *Endpoint) acceptConn(now Time, from netip.AddrPort, s *Service, sec ServerSecurity, h *wire.Header, body []byte) *conn {
	if !sendable(from) {
		e.drop(now, from, h, "no address of a peer")
		return nil
	}
	id := ConnID{Epoch: h.Epoch, CID: h.CID.ConnID(), Service: h.Service, Peer: from}
	var sc SecurityConn = none{}
	if sec != nil {
		var err error
		if sc, err = sec.NewServer(id); err != nil {
			e.reject(now, from, h, codeOf(err, wire.InvalidOperation), "security class refuses")
			return nil
		}
	}
	if sc.NeedsChallenge() {
		e.halfOpened(now, from, s, sc, id, h, body)
		return nil
	}
	why := e.makeRoom(now, from)
	if reached(e.serviceCalls, e.cfg.Limits.ServiceCalls) {
		why = tooManyCalls
	}
	if why != "" {
		sc.Wipe()
		e.drop(now, from, h, why)
		e.busy(now, from, h)
		return nil
	}
	c := e.newConn(now, e.peerOf(now, from), id, false)
	c.secure(sc)
	c.svc = s
	return c
}

const tooManyCalls = "too many calls"

// makeRoom makes room for a service connection, within the limits; it returns why there is none.
func (e *Endpoint) makeRoom(now Time, from netip.AddrPort) (why string) {
	l := &e.cfg.Limits
	if host := e.hosts[from.Addr()]; host != nil && (reached(host.conns, l.ConnsPerHost) || reached(host.calls, l.CallsPerHost)) {
		return "too many connections of one host"
	}
	if reached(e.stats.LiveServiceConns, l.ServiceConns) {
		old := e.idleServices.head
		if old == nil {
			old = e.dying.head
		}
		if old == nil {
			return "too many connections"
		}
		old.close(now, "too many connections")
	}
	return ""
}

// beginService begins a service call with its first packet. What was on the channel is over: its
// client would not begin another otherwise (rule 9).
func (e *Endpoint) beginService(now Time, c *conn, s *Service, h *wire.Header, body []byte) {
	i := h.CID.Channel()
	ch := &c.channels[i]
	if old := ch.call; old != nil {
		if old.state == AwaitAck {
			old.complete(now, Result{Completion: Succeeded})
		} else {
			old.complete(now, Result{Completion: LocallyAborted, Code: wire.CallDead, Errno: syscall.ECONNRESET, Why: whyNewCall})
		}
	}
	if c.service == c.id.Service && ch.number == 0 && c.serial == 0 && s.wantsUpgrade(h) {
		c.service = s.p.UpgradeTo
	}
	call := e.newCall(now, c.peer, false)
	call.svc = s
	s.calls.add(call)
	e.serviceCalls++
	c.peer.host.calls++
	e.stats.ServiceCalls++
	c.occupy(call, i)
	ch.number = h.Call
	ch.end, ch.due, ch.finalAt = endNothing, false, never
	call.number, call.service, call.connID = h.Call, c.service, c.id
	call.id = PacketID{Call: h.Call, Channel: i}
	call.state = RecvRequest
	call.times = s.p.Timeouts
	if d := call.times.Hard; d > 0 {
		call.hardAt = now.Add(d)
	}
	c.highest = h.Serial
	s.take(call)
	call.receive(now, h, body)
}
