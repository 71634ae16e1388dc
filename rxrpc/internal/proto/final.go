package proto

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// finalAck says by which time the end of a client call is to be acknowledged, unless
// the next call on the channel does it.
func (c *conn) finalAck(now Time, channel uint8, soon bool, answers wire.Serial) {
	ch := &c.channels[channel]
	if soon {
		ch.due, ch.reason, ch.answers, ch.finalAt = true, wire.AckRequested, answers, never
		c.e.connsToSend.add(c)
		return
	}
	ch.finalAt = now.Add(c.e.cfg.Timers.FinalAck)
	c.e.timers.arm(&c.timer, ch.finalAt)
}

// replay answers a packet of a call that has ended: whoever sends it has not heard.
func (c *conn) replay(now Time, ch *channel, h *wire.Header, ack *wire.Ack) {
	e := c.e
	switch ch.end {
	case endAck:
		switch {
		case h.Type == wire.TypeData:
			ch.reason = wire.AckDuplicate
		case h.Type == wire.TypeAck && (ack.Reason == wire.AckPing || h.Flags.Has(wire.RequestAck)) && ack.Reason != wire.AckPingResponse:
			// A PING_RESPONSE is never answered: two ends would play for ever.
			ch.reason = wire.AckPingResponse
		default:
			return
		}
		ch.due, ch.answers, ch.finalAt = true, h.Serial, never
		e.connsToSend.add(c)
	case endAbort:
		if h.Type != wire.TypeData && h.Type != wire.TypeAck || h.Type == wire.TypeAck && ack.Reason == wire.AckPingResponse {
			return
		}
		if e.mayReply(now, c.peer.addr, 1) {
			ch.due = true
			e.connsToSend.add(c)
		}
	}
}

// transmitFinalAck writes the ACK of a reply whose call has ended (section 3.1).
func (c *conn) transmitFinalAck(buf []byte, i int) []byte {
	ch := &c.channels[i]
	h := c.header(wire.TypeAck)
	h.CID |= wire.CID(i)
	h.Call, h.Serial = ch.number, c.next()
	h.Flags |= wire.SlowStartOK
	a := wire.Ack{First: ch.last + 1, Previous: ch.last, Serial: ch.answers, Reason: ch.reason, Trailer: c.peer.trailer(c.e.cfg.Windows.Receive)}
	return a.Append(h.Append(buf[:0]))
}
