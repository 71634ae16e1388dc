package proto

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Take returns the next piece of data that has arrived in order, which belongs to the
// caller from now on, and whether the peer's data ends with it. A last piece may be
// empty. After the last, and while nothing is there, ok is false.
func (c *Call) Take() (b *Buf, last, ok bool) {
	q := &c.rx
	b = q.head
	if b == nil || c.waits {
		return nil, false, false
	}
	q.head, b.next = b.next, nil
	if q.head == nil {
		q.tail = nil
	}
	if b.last {
		q.taken = true
	}
	return b, b.last, true
}

// Consumed says that the application has done with so many packets (Buf.Packets) of
// what was taken: the peer may send as many more.
func (c *Call) Consumed(now Time, packets int) {
	q := &c.rx
	if c.state == Complete || c.state == Unused || packets <= 0 {
		return
	}
	q.consumed = q.consumed.Add(min(packets, q.next.Sub(q.consumed)-1))
	if q.last != 0 && q.next.After(q.last) {
		return // nothing is to come
	}
	gain, left := q.limit().Sub(q.edge), q.edge.Sub(q.next)+1
	if gain > 0 && (left <= q.window/4 || gain >= q.window/2) {
		c.ackNow(wire.AckIdle, 0)
	}
}

// receiveData processes a DATA datagram.
func (c *Call) receiveData(now Time, h *wire.Header, body []byte) {
	e := c.e
	subs, err := wire.SplitData(*h, body)
	if err != nil {
		// Damage on the way makes such datagrams as well; what was in it will come again.
		e.drop(now, c.peer.addr, h, "malformed jumbo")
		return
	}
	if subs.Len() > 1 {
		e.stats.JumboIn++
	}
	if !c.replyArrives(now) {
		return
	}
	c.ack.datagrams++
	e.stats.DataIn += uint64(subs.Len())
	q := &c.rx
	was := q.next
	rest := subs.Len() * (wire.JumboData + wire.JumboHeaderSize)
	if subs.Len() == 1 {
		rest = len(body)
	}
	for sh, sb, ok := subs.Next(); ok; sh, sb, ok = subs.Next() {
		if !c.receivePacket(now, &sh, sb, rest) {
			return
		}
		rest -= len(sb)
	}
	c.ackData(now, h.Serial)
	if q.next == was {
		return
	}
	c.reqAt = now
	c.tell(Readable)
	if q.last != 0 && q.next.After(q.last) {
		c.allArrived(now)
	}
}

// replyArrives takes in that data of a reply says that the request has arrived.
func (c *Call) replyArrives(now Time) bool {
	if !c.client {
		return true
	}
	switch c.state {
	case SendRequest:
		c.violated(now, "a reply before the end of the request")
		return false
	case AwaitReply:
		c.state = RecvReply
		c.pingAt = never
		c.ackedAll(now)
	}
	return c.state == RecvReply
}

// receivePacket processes one DATA packet; rest is how much of its datagram is left with it. It
// reports whether the call still goes on.
func (c *Call) receivePacket(now Time, h *wire.Header, body []byte, rest int) bool {
	e, q, seq := c.e, &c.rx, h.Seq
	if !c.conn.plain {
		id := PacketID{Call: c.number, Channel: int(c.channel), Seq: seq, ToServer: !c.client}
		if err := c.conn.sec.Check(id, h.Checksum); err != nil {
			return c.badChecksum(now, h, err)
		}
	}
	isLast := h.Flags.Has(wire.LastPacket)
	switch {
	case q.last != 0 && (seq.After(q.last) || isLast && seq != q.last),
		isLast && seq.Before(q.top):
		c.violated(now, "data after the last packet")
		return false
	case seq.Before(q.next) || q.has(seq) && seq.Sub(q.next) < slotCount:
		e.stats.Duplicates++
		c.ackFor(wire.AckDuplicate, h.Serial)
		return true
	case seq.After(q.limit()):
		e.stats.OutsideWindow++
		c.ackFor(wire.AckExceedsWindow, h.Serial)
		return true
	}
	if seq.After(q.top) {
		q.top = seq
	}
	if isLast {
		q.last = seq
	}
	if seq != q.next {
		b := newBuf(len(body))
		b.seq, b.last, b.packets = seq, isLast, 1
		if b.data = c.open(now, seq, b.data, body); b.data == nil {
			b.Release()
			return false
		}
		q.put(e, b)
		e.stats.OutOfOrder++
		c.ackFor(wire.AckOutOfSequence, h.Serial)
		c.ackIfAsked(h)
		return true
	}
	if !c.deliver(now, seq, body, isLast, rest) {
		return false
	}
	if q.waiting > 0 && c.drain(now) {
		c.ackFor(wire.AckDelay, h.Serial) // a hole was filled
	}
	c.ackIfAsked(h)
	return true
}

// badChecksum decides about a packet that the security class refuses. The first of a call
// says that the two sides do not agree; later ones are not the peer's.
func (c *Call) badChecksum(now Time, h *wire.Header, err error) bool {
	c.e.stats.ChecksumBad++
	if c.rx.top == 0 {
		c.abort(now, codeOf(err, wire.ProtocolError), errnoOf(err, syscall.EPROTO), "checksum", err)
		return false
	}
	c.e.drop(now, c.peer.addr, h, "checksum")
	return true
}

// open appends the data of a packet to dst, which is private memory; nil: the call has
// ended.
func (c *Call) open(now Time, seq wire.Seq, dst, body []byte) []byte {
	if c.conn.plain {
		return append(dst, body...)
	}
	id := PacketID{Call: c.number, Channel: int(c.channel), Seq: seq, ToServer: !c.client}
	out, err := c.conn.sec.Open(dst, id, body)
	if err != nil {
		c.abort(now, codeOf(err, wire.ProtocolError), errnoOf(err, syscall.EPROTO), "the packet cannot be opened", err)
		return nil
	}
	return out
}

// deliver adds the next packet to what can be taken: behind data that nobody has
// taken yet, or in a new Buf with room for what is left of the datagram.
func (c *Call) deliver(now Time, seq wire.Seq, body []byte, last bool, rest int) bool {
	q := &c.rx
	b := q.tail
	if b == nil || b.room() < len(body) {
		b = newBuf(max(rest, len(body)))
		q.append(b)
	}
	data := c.open(now, seq, b.data, body)
	if data == nil {
		return false
	}
	b.data = data
	b.packets++
	b.last = last
	q.next++
	return true
}

// allArrived ends the receiving of a call.
func (c *Call) allArrived(now Time) {
	if !c.client {
		if c.state == RecvRequest {
			c.state = AckRequest
		}
		return
	}
	soon, answers := c.ack.reason != 0 && c.ack.reason != wire.AckIdle, c.ack.serial
	cn, channel := c.conn, c.channel
	c.complete(now, Result{Completion: Succeeded})
	ch := &cn.channels[channel]
	if ch.end == endAck && (ch.call == nil || !ch.call.exposed) {
		cn.finalAck(now, channel, soon, answers)
	}
}
