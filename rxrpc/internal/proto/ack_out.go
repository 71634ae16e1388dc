package proto

import (
	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// ackState is what a call has to acknowledge.
type ackState struct {
	reason    wire.AckReason // of the ACK to send now; 0: none
	serial    wire.Serial    // that it answers
	at        Time           // when one is due at the latest, never: not
	datagrams int            // with data, since the last ACK
	pong      bool           // an ACK that asks for one is to be answered
	pongPing  bool           // it was a PING
	pongFor   wire.Serial
}

// ackPriority orders the reasons that one datagram may have (section 2.2, Linux).
var ackPriority = [...]uint8{
	wire.AckIdle: 1, wire.AckDelay: 2, wire.AckRequested: 3, wire.AckDuplicate: 4, wire.AckExceedsWindow: 5,
	wire.AckNoSpace: 6, wire.AckOutOfSequence: 7, wire.AckPing: 0, wire.AckPingResponse: 0,
}

// manyDatagrams are acknowledged without being asked (Linux: more than two).
const manyDatagrams = 2

// ackFor says that there is a reason for an ACK; the weightiest is sent.
func (c *Call) ackFor(r wire.AckReason, serial wire.Serial) {
	a := &c.ack
	if a.reason == 0 || ackPriority[r] >= ackPriority[a.reason] {
		a.reason, a.serial = r, serial
	}
}

func (c *Call) ackNow(r wire.AckReason, serial wire.Serial) {
	c.ackFor(r, serial)
	c.e.callsToSend.add(c)
}

func (a *ackState) forget() {
	if a.reason == wire.AckIdle || a.reason == wire.AckDelay || a.reason == wire.AckRequested {
		a.reason = 0
	}
	a.at = never
}

// late makes of what is to be acknowledged something that no round trip is measured by: the packets have waited here.
func (a *ackState) late() {
	a.serial = 0
	if a.reason == wire.AckRequested {
		a.reason = wire.AckDelay
	}
}

// ackIfAsked acknowledges a packet that asks for it.
func (c *Call) ackIfAsked(h *wire.Header) {
	if h.Flags.Has(wire.RequestAck) {
		c.ackFor(wire.AckRequested, h.Serial)
	}
}

// ackData decides about the acknowledgement of a datagram.
func (c *Call) ackData(now Time, serial wire.Serial) {
	a := &c.ack
	if a.reason == 0 && a.datagrams > manyDatagrams {
		c.ackFor(wire.AckIdle, serial)
	}
	if a.reason == 0 && a.at == never {
		a.at = now.Add(c.e.cfg.Timers.DelayedAck)
	}
}

// transmitAck writes an ACK that is to be sent now, if there is one.
func (c *Call) transmitAck(now Time, buf []byte) []byte {
	a := &c.ack
	switch {
	case a.pong:
		a.pong = false
		r := wire.AckPingResponse
		if !a.pongPing {
			r = wire.AckRequested
		}
		return c.writeAck(buf, c.conn.next(), r, a.pongFor, 0)
	case a.reason != 0:
		r, serial := a.reason, a.serial
		if r == wire.AckDelay && c.rx.top.Before(c.rx.next) {
			r = wire.AckIdle // there is nothing to soft-ack
		}
		a.reason = 0
		return c.writeAck(buf, c.conn.next(), r, serial, 0)
	}
	return nil
}

// transmitPing writes a PING that is wanted.
func (c *Call) transmitPing(now Time, buf []byte) []byte {
	if !c.ping {
		return nil
	}
	c.ping = false
	serial := c.conn.next()
	c.snd.OnPing(cc.Time(now), serial)
	c.e.stats.PingsOut++
	return c.writeAck(buf, serial, wire.AckPing, 0, 0)
}

// transmitProbe writes a PING that tries a size of the path's MTU.
func (c *Call) transmitProbe(now Time, buf []byte) []byte {
	p := c.peer
	// A call that is over in a few packets gains nothing.
	if c.tx.len() < probeWorth || p.probe != nil && p.probe != c.conn {
		return nil
	}
	size, ok := p.mtu.Probe(cc.Time(now))
	if !ok {
		return nil
	}
	serial := c.conn.next()
	p.probe = c.conn
	p.mtu.ProbeSent(cc.Time(now), serial, size)
	c.snd.OnPing(cc.Time(now), serial)
	c.e.stats.MTUProbes++
	p.arm(now)
	return c.writeAck(buf, serial, wire.AckPing, 0, size)
}

// probeWorth is how many packets a call has under way, or waiting, for which a search for
// the path's MTU is worth the trouble.
const probeWorth = 6

// writeAck writes an ACK: the state of what was received, and why it is sent. size, if not 0, is
// what its body is padded to.
func (c *Call) writeAck(buf []byte, serial wire.Serial, r wire.AckReason, answers wire.Serial, size int) []byte {
	q := &c.rx
	h := c.conn.header(wire.TypeAck)
	h.CID |= wire.CID(c.channel)
	h.Call, h.Serial = c.number, serial
	h.Flags |= wire.SlowStartOK
	if r == wire.AckPing {
		h.Flags |= wire.RequestAck
	}
	a := wire.Ack{First: q.next, Previous: q.top, Serial: answers, Reason: r, Trailer: c.peer.trailer(q.rwind())}
	if q.top == 0 {
		a.Previous = 0
	}
	if q.waiting > 0 {
		a.Acks = c.softAcks()
	}
	if size > 0 {
		a.Padding = max(size-a.Size(), 0)
	}
	if r != wire.AckPing {
		c.ack.datagrams, c.ack.at = 0, never
	}
	q.edge = q.limit()
	return a.Append(h.Append(buf[:0]))
}

// softAcks describes the packets from the first that is missing to the highest that is here.
func (c *Call) softAcks() []byte {
	q := &c.rx
	acks := c.e.soft[:min(max(q.top.Sub(q.next)+1, 0), len(c.e.soft))]
	for i := range acks {
		acks[i] = 0
		if q.slots[q.next.Add(i)%slotCount] != nil {
			acks[i] = wire.SoftAcked
		}
	}
	return acks
}
