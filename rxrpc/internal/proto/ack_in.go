package proto

import (
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// transmitting reports whether the call's data is under way, so that ACKs are about it.
func (c *Call) transmitting() bool {
	if c.client {
		return c.exposed && (c.state == SendRequest || c.state == AwaitReply)
	}
	return c.state == SendReply || c.state == AwaitAck
}

// receiveAck processes an ACK by the rules of section 2.3; the letters are its.
func (c *Call) receiveAck(now Time, h *wire.Header, a *wire.Ack) {
	p := c.peer
	if a.Reason == wire.AckPing || h.Flags.Has(wire.RequestAck) && a.Reason != wire.AckPingResponse {
		// Stale ones are answered as well.
		c.ack.pong, c.ack.pongPing, c.ack.pongFor = true, a.Reason == wire.AckPing, h.Serial
	}
	limits := p.advertised(a.Trailer)
	if p.probe == c.conn && a.Serial != 0 {
		before := p.mtu.Good()
		p.mtu.OnAck(cc.Time(now), a.Serial)
		p.mtuChanged(now, before)
		if _, under := p.mtu.Deadline(0); !under {
			p.probe = nil
		}
	}
	if a.First == 0 { // (c)
		c.violated(now, "an ACK of packet 0")
		return
	}
	if !c.transmitting() { // (e)
		c.heardAt = now
		return
	}
	s := &c.snd
	if c.client && a.First == 1 && a.Previous == 0 && len(a.Acks) == 0 &&
		(a.Reason == wire.AckExceedsWindow || a.Reason == wire.AckOutOfSequence && s.Base() == 1) { // (f)
		c.lost(now)
		return
	}
	if a.First.Before(s.Base()) { // (a)
		c.e.stats.AcksStale++
		if c.client && a.Serial.After(c.known) && !a.Serial.After(c.conn.serial) {
			// What it answers was sent when more was acknowledged already: this is
			// another server, which begins anew.
			c.lost(now)
		}
		return
	}
	if a.First.After(s.Next()) || a.First.Add(len(a.Acks)).After(s.Next()) { // (d)
		c.violated(now, "an ACK of packets that were never sent")
		return
	}
	// (b) Which of two ACKs with the same first packet is the later one, their own serials say
	// better than previousPacket, in which some peers put other things.
	window := int(limits.Window)
	if a.Trailer.Words >= 3 && a.Trailer.RWind == 0 {
		window = 0
	}
	if a.Trailer.Words > 0 || !c.ackSeen {
		s.SetPeerWindow(window)
	}
	c.ackSeen = true
	c.heardAt = now
	if a.First.After(s.Base()) {
		c.known = c.conn.serial
	}
	before := p.path.Samples()
	r := s.OnAck(cc.Time(now), cc.Ack{Serial: h.Serial, For: a.Serial, Reason: a.Reason, First: a.First, Acks: a.Acks})
	if c.e.hooks.RTT != nil && p.path.Samples() != before {
		c.e.hooks.RTT(now, p.addr, time.Duration(p.path.Smoothed()), time.Duration(p.path.RTO()))
	}
	c.acked(now, r)
	if c.state == AwaitReply && s.Arrived() && c.pingAt == never && c.pingGap > 0 {
		c.pingAt = now.Add(c.pingGap)
	}
}

// lost ends a client call of which the server knows nothing any more.
func (c *Call) lost(now Time) {
	c.conn.noReuse = true
	c.complete(now, Result{Completion: NetworkError, Errno: syscall.ENETRESET, Why: "the server has lost the call"})
}
