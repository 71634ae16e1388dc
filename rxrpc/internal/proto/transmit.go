package proto

import (
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Transmit is where a datagram goes and how.
type Transmit struct {
	To netip.AddrPort
	// DF forbids fragments: the datagram is as long as the path is believed, or asked,
	// to take.
	DF bool
}

// turn is how many datagrams a call sends before the next one's.
const turn = 32

// Transmit writes the next datagram over buf[:cap(buf)], which must have room for MaxDatagram bytes,
// and returns its length; false if there is none now.
func (e *Endpoint) Transmit(now Time, buf []byte) (n int, to Transmit, ok bool) {
	b, to := e.next(now, buf[:0])
	if b == nil {
		return 0, Transmit{}, false
	}
	e.stats.BytesOut += uint64(len(b))
	e.stats.Transmitted[b[20]]++
	if e.hooks.Packet != nil {
		e.hooks.Packet(now, true, to.To, b)
	}
	return len(b), to, true
}

func (e *Endpoint) next(now Time, buf []byte) ([]byte, Transmit) {
	if b, to, ok := e.transmitReply(buf); ok {
		return b, Transmit{To: to}
	}
	for c := e.connsToSend.head; c != nil; c = e.connsToSend.head {
		if b := c.transmit(now, buf); b != nil {
			return b, c.sent(now, b, true)
		}
		e.connsToSend.remove(c)
	}
	for x := e.half.toSend.head; x != nil; x = e.half.toSend.head {
		if b := x.transmit(buf); b != nil {
			return b, Transmit{To: x.id.Peer}
		}
		e.half.toSend.remove(x)
	}
	for p := e.peersToSend.head; p != nil; p = e.peersToSend.head {
		e.peersToSend.remove(p)
		if p.keepalive {
			p.keepalive = false
			p.arm(now)
			return e.appendKeepalive(buf), Transmit{To: p.addr}
		}
	}
	for c := e.callsToSend.head; c != nil; c = e.callsToSend.head {
		if b, df := c.transmit(now, buf); b != nil {
			if c.burst++; c.burst >= turn {
				c.burst = 0
				e.callsToSend.rotate()
			}
			c.sentAt = now
			return b, c.conn.sent(now, b, df)
		}
		c.burst = 0
		e.callsToSend.remove(c)
		c.rearm(now)
	}
	return nil, Transmit{}
}

// sent counts a datagram of the connection.
func (c *conn) sent(now Time, b []byte, df bool) Transmit {
	c.packetsOut++
	c.bytesOut += uint32(len(b) - wire.HeaderSize)
	c.peer.bytesOut += uint64(len(b) - wire.HeaderSize)
	c.peer.sent = now
	return Transmit{To: c.peer.addr, DF: df}
}

// transmit writes the next packet of the call, or nil. ACKs come before DATA: they let the other side go on.
func (c *Call) transmit(now Time, buf []byte) (b []byte, df bool) {
	if c.conn == nil || c.state == Complete || c.state == Unused {
		return nil, false
	}
	if !c.client || c.exposed {
		if b := c.transmitAck(now, buf); b != nil {
			return b, true
		}
	}
	// A PING that comes before the first DATA would be of a call that the server does
	// not know, and the end of it.
	heard := c.highest != 0
	if heard {
		if b := c.transmitPing(now, buf); b != nil {
			return b, true
		}
	}
	b, df = c.transmitData(now, buf)
	if b == nil && heard {
		return c.transmitProbe(now, buf), true
	}
	return b, df
}

// transmit writes the next packet of the connection itself, or nil.
func (c *conn) transmit(now Time, buf []byte) []byte {
	if c.abort {
		c.abort = false
		h := c.header(wire.TypeAbort)
		h.Serial = c.next()
		return wire.AppendAbort(h.Append(buf), c.code)
	}
	if len(c.response) > 0 {
		h := c.header(wire.TypeResponse)
		h.Serial = c.next()
		b := append(h.Append(buf), c.response...)
		c.response = c.response[:0]
		return b
	}
	for i := range c.channels {
		ch := &c.channels[i]
		if !ch.due {
			continue
		}
		ch.due = false
		switch ch.end {
		case endAck:
			return c.transmitFinalAck(buf, i)
		case endAbort:
			h := c.header(wire.TypeAbort)
			h.CID |= wire.CID(i)
			h.Call, h.Serial = ch.number, c.next()
			return wire.AppendAbort(h.Append(buf), ch.code)
		}
	}
	return nil
}

// appendKeepalive writes what keeps a NAT's mapping: a VERSION that nobody answers, because it
// does not come from a client (section 3.8).
func (e *Endpoint) appendKeepalive(buf []byte) []byte {
	h := wire.Header{Epoch: e.epoch, Type: wire.TypeVersion, Flags: wire.LastPacket}
	return wire.AppendVersionRequest(h.Append(buf))
}
