package proto

import (
	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// transmitData writes the next datagram of DATA into buf: a packet to send again, or as many
// new ones as one datagram may have.
func (c *Call) transmitData(now Time, buf []byte) (b []byte, df bool) {
	slots := c.peer.mtu.Slots()
	if q, ok := c.snd.Lost(); ok {
		n := c.joined(q, c.snd.LostRun(slots))
		c.e.stats.Resent += uint64(n)
		c.peer.resent += uint64(n)
		return c.writeData(now, buf, q, n, true)
	}
	n := c.unsent()
	if n == 0 {
		return nil, false
	}
	if w := c.snd.Window(); n > w {
		n = w
	}
	if n <= 0 {
		c.snd.SetMore(true)
		return nil, false
	}
	first := c.snd.Next()
	n = c.joined(first, min(n, slots))
	if !c.exposed {
		c.expose(now)
	}
	c.e.stats.DataOut += uint64(n)
	c.peer.out += uint64(n)
	if n > 1 {
		c.e.stats.JumboOut++
	}
	return c.writeData(now, buf, first, n, false)
}

// joined returns how many of n packets can be in one datagram: all but the last are of the length
// that makes that possible, or can be made so.
func (c *Call) joined(first wire.Seq, n int) int {
	for i := range n - 1 {
		if int(c.tx.at(first.Add(i)).n)+c.conn.stretch < wire.JumboData {
			return i + 1
		}
	}
	return n
}

// writeData writes a datagram of n packets.
func (c *Call) writeData(now Time, buf []byte, first wire.Seq, n int, again bool) ([]byte, bool) {
	final := first.Add(n - 1)
	size := (n-1)*(wire.JumboData+wire.JumboHeaderSize) + int(c.tx.at(final).n)
	last := c.tx.at(final).last
	if again {
		c.snd.SetMore(c.unsent() > 0)
	} else {
		c.snd.SetMore(final.Add(1) != c.tx.next)
	}
	df := c.peer.mtu.DontFragment(size)
	ask := c.snd.WantAck(cc.Time(now), n, again, last)
	if last && !c.client {
		ask = false // of an OpenAFS client that would be the last sign of life (section 2.3)
	}
	h := c.conn.header(wire.TypeData)
	h.CID |= wire.CID(c.channel)
	h.Call = c.number
	h.Seq = first
	if first == 1 && c.conn.probing == c {
		h.UserStatus = wire.UpgradeRequest
	}
	preset := h.Flags
	b := buf[:0]
	for i := range n {
		q := first.Add(i)
		p := c.tx.at(q)
		serial := c.conn.next()
		f := preset
		if p.last {
			f |= wire.LastPacket
		} else if q.Add(1) != c.tx.next {
			f |= wire.MorePackets
		}
		if i < n-1 {
			f |= wire.JumboPacket
		} else if ask {
			f |= wire.RequestAck
		}
		h.Flags, h.Checksum, h.Serial = f, p.cksum, serial
		if i == 0 {
			b = h.Append(b)
		} else {
			b = wire.AppendJumboHeader(b, f, p.cksum)
		}
		b = append(b, p.buf.b[:p.n]...)
		if i < n-1 {
			b = append(b, zeros[:wire.JumboData-int(p.n)]...)
		}
		c.snd.OnSend(cc.Time(now), cc.Packet{Seq: q, Serial: serial, Size: size, Ask: ask, Last: p.last && c.client, Pieces: !df})
	}
	if last && !again {
		c.sentLast()
	}
	return b, df
}

// zeros are what bodies are stretched with.
var zeros [wire.JumboData]byte

// sentLast says that all of this side's data has been on its way.
func (c *Call) sentLast() {
	if c.client {
		c.state = AwaitReply
		c.pingGap = c.e.cfg.Timers.LostReply
	} else {
		c.state = AwaitAck
	}
	c.tell(Sent)
}
