package proto

import (
	"net/netip"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Receive processes a datagram, which is read during the call only.
func (e *Endpoint) Receive(now Time, from netip.AddrPort, datagram []byte) {
	if from.Addr().Is4In6() {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	}
	if e.hooks.Packet != nil {
		e.hooks.Packet(now, false, from, datagram)
	}
	h, body, s := wire.Screen(datagram)
	e.stats.BytesIn += uint64(len(datagram))
	if int(h.Type) < len(e.stats.Received) {
		e.stats.Received[h.Type]++
	} else {
		e.stats.Received[0]++
	}
	switch s.Verdict {
	case wire.Discard:
		if h.Type != wire.TypeVersion { // others keep their NAT awake as well
			e.drop(now, from, &h, s.Why)
		}
		return
	case wire.Reject:
		e.reject(now, from, &h, s.Code, s.Why)
		return
	}
	switch {
	case h.Type == wire.TypeVersion:
		e.version(now, from, &h)
	case h.Type == wire.TypeDebug:
		e.debug(now, from, &h, body)
	case h.FromClient():
		e.toServer(now, from, &h, body)
	default:
		e.toClient(now, from, &h, body)
	}
}

// toClient processes a packet from the server of a connection: to be found by its id, with the right epoch and
// port. The address may be another one of the server's (section 1.1), where nothing is sent to.
func (e *Endpoint) toClient(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	c := e.clients[h.CID.ConnID()]
	if c == nil || h.Epoch != c.id.Epoch || from.Port() != c.id.Peer.Port() {
		e.reject(now, from, h, wire.ProtocolError, "no such connection")
		return
	}
	c.receive(now, from, h, body)
}

// receive processes a packet of a connection, in the order of section 1.2 from its seventh rule on.
func (c *conn) receive(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	e := c.e
	// An ABORT from who does not know the call has security index 0, and OpenAFS's (1.8) has
	// service 0 and the number where the checksum belongs.
	raw := h.Type == wire.TypeAbort && h.Serial == 0
	if h.Security != c.index && !(raw && h.Security == wire.SecurityNone) {
		e.reject(now, from, h, wire.SecurityInconsistency, "security index of another connection")
		return
	}
	if h.Service != c.service && !(raw && h.Service == 0) && !c.otherService(now, h) {
		e.reject(now, from, h, wire.ProtocolError, "service of another connection")
		return
	}
	c.packetsIn++
	c.bytesIn += uint32(len(body))
	c.peer.bytesIn += uint64(len(body))
	if !c.peer.heard {
		c.peer.heard = true
		c.peer.arm(now)
	}
	if h.Call == 0 {
		c.control(now, from, h, body)
		return
	}
	ch := &c.channels[h.CID.Channel()]
	call := ch.call
	switch {
	case call != nil && h.Call == call.number && (call.exposed || !c.client):
		if h.Serial.After(c.highest) {
			c.highest = h.Serial
		}
		call.receive(now, h, body)
	case h.Call > ch.number:
		if c.client {
			e.reject(now, from, h, wire.ProtocolError, "a call that was never made")
			return
		}
		e.nextCall(now, from, c, h, body)
	case h.Call < ch.number:
		e.drop(now, from, h, "call of the past")
	default:
		c.endedCall(now, from, ch, h, body)
	}
}

// endedCall processes a packet of the channel's last call, which has ended.
func (c *conn) endedCall(now Time, from netip.AddrPort, ch *channel, h *wire.Header, body []byte) {
	var a wire.Ack
	if h.Type == wire.TypeAck {
		var err error
		if a, err = wire.ParseAck(body); err != nil {
			c.e.drop(now, from, h, "malformed ACK")
			return
		}
	}
	if ch.end == endNothing || h.Type == wire.TypeAbort {
		c.e.drop(now, from, h, "call that has ended")
		return
	}
	c.replay(now, ch, h, &a)
}

// receive processes a packet of the call.
func (c *Call) receive(now Time, h *wire.Header, body []byte) {
	if h.Serial.After(c.highest) {
		c.highest = h.Serial
	}
	if h.Type == wire.TypeData {
		c.heardAt = now
		c.receiveData(now, h, body)
	} else {
		c.receiveOther(now, h, body)
	}
	if c.state != Complete && c.state != Unused {
		c.e.callsToSend.add(c)
	}
}

func (c *Call) receiveOther(now Time, h *wire.Header, body []byte) {
	e := c.e
	switch h.Type {
	case wire.TypeAck:
		a, err := wire.ParseAck(body)
		if err != nil { // (d) of section 2.3
			c.violated(now, "malformed ACK")
			return
		}
		c.receiveAck(now, h, &a)
	case wire.TypeAckAll:
		c.heardAt = now
		if c.transmitting() {
			c.ackedAll(now)
		}
	case wire.TypeAbort:
		code, err := wire.ParseAbort(body)
		if err != nil {
			e.drop(now, c.peer.addr, h, "short ABORT")
			return
		}
		c.complete(now, Result{Completion: RemotelyAborted, Code: code, Errno: syscall.ECONNABORTED})
	case wire.TypeBusy:
		// The call goes on as it is: its identity does not change (section 3.4).
		c.tell(Busy)
	default:
		e.drop(now, c.peer.addr, h, "no packet of a call")
	}
}

// control processes a packet about the connection.
func (c *conn) control(now Time, from netip.AddrPort, h *wire.Header, body []byte) {
	switch h.Type {
	case wire.TypeAbort:
		code, err := wire.ParseAbort(body)
		if err != nil {
			return
		}
		c.fail(now, Result{Completion: RemotelyAborted, Code: code, Errno: syscall.ECONNABORTED, Why: "the connection was aborted"})
		if c.active == 0 {
			c.rest(now)
		}
	case wire.TypeChallenge:
		c.challenged(now, h, body)
	case wire.TypeResponse:
		c.e.drop(now, from, h, "RESPONSE that nobody expects")
	default:
		c.e.drop(now, from, h, "no packet of a connection")
	}
}
