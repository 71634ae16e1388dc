package proto

import (
	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A txPacket is a DATA packet from being queued to being acknowledged for good.
type txPacket struct {
	buf   *txBuf
	n     uint16
	cksum wire.Checksum
	last  bool
}

// A sendQueue holds the DATA packets of a call, base to next of them, and the one that is
// being filled.
type sendQueue struct {
	base, next wire.Seq // next: of the packet queued next
	sealed     wire.Seq // the first whose body is not what is sent yet
	ring       []txPacket
	small      [4]txPacket
	fill       *txBuf
	filled     int
	room       int   // of the packet being filled
	left       int64 // bytes that were announced and have not come, negative: unknown
	began      bool  // some data was sent
	ended      bool  // the last packet is queued
	short      bool  // Send could not take all
}

func (q *sendQueue) reset() {
	if q.ring == nil {
		q.ring = q.small[:]
	}
	q.base, q.next, q.sealed = 1, 1, 1
	q.left = -1
}

func (q *sendQueue) len() int { return q.next.Sub(q.base) }

func (q *sendQueue) at(s wire.Seq) *txPacket { return &q.ring[int(s)&(len(q.ring)-1)] }

func (q *sendQueue) push() *txPacket {
	if q.len() == len(q.ring) {
		bigger := make([]txPacket, 4*len(q.ring))
		for s := q.base; s != q.next; s++ {
			bigger[int(s)&(len(bigger)-1)] = *q.at(s)
		}
		clear(q.ring)
		q.ring = bigger
	}
	p := q.at(q.next)
	q.next++
	return p
}

// free gives back the packets before seq.
func (q *sendQueue) free(pool *txPool, seq wire.Seq) {
	for q.base.Before(seq) && q.base != q.next {
		p := q.at(q.base)
		pool.put(p.buf)
		*p = txPacket{}
		q.base++
	}
}

func (q *sendQueue) drop(pool *txPool) {
	q.free(pool, q.next)
	if q.fill != nil {
		pool.put(q.fill)
	}
	q.fill, q.filled, q.room = nil, 0, 0
	q.began, q.ended, q.short = false, false, false
}

// Send queues data, as far as there is Room, and returns how much. With more, more will follow
// and a packet that is not full waits for it; without, the data ends here: that is
// taken when n is len(data) and err is nil, also with no data at all. If there is no
// room n is short and err nil, or ErrFull for an end without data; Writable is
// told when there is room again.
//
// Errors: ErrEnded, ErrPhase, ErrTooMuch.
func (c *Call) Send(now Time, data []byte, more bool) (n int, err error) {
	if err := c.maySend(); err != nil {
		return 0, err
	}
	q := &c.tx
	if q.left >= 0 && (int64(len(data)) > q.left || !more && int64(len(data)) < q.left) {
		return 0, ErrTooMuch
	}
	q.began = true
	for {
		if q.fill == nil && !c.begin() {
			break
		}
		k := copy(q.fill.b[q.filled:q.room], data[n:])
		q.filled += k
		n += k
		end := n == len(data) && !more
		if end || q.filled == q.room {
			c.queue(end)
		}
		if n == len(data) {
			break
		}
	}
	if err := c.seal(); err != nil {
		c.complete(now, securityFailed(err))
		return n, ErrEnded
	}
	if q.left > 0 {
		q.left -= int64(n)
	}
	if !c.client && c.state < SendReply {
		c.state = SendReply
		c.ack.forget() // the reply says that the request has arrived
	}
	if n < len(data) || !more && !q.ended {
		q.short = true
		if len(data) == 0 {
			err = ErrFull
		}
	}
	if c.conn != nil {
		c.e.callsToSend.add(c)
	}
	return n, err
}

func (c *Call) maySend() error {
	switch {
	case c.state == Complete || c.state == Unused:
		return ErrEnded
	case c.tx.ended:
		return ErrPhase
	case !c.client && c.state == RecvRequest:
		return ErrNotNow
	case c.waits || c.hidden:
		return ErrNotNow
	}
	return nil
}

// begin begins a packet, if the queue has room for one.
func (c *Call) begin() bool {
	q := &c.tx
	if q.len() >= c.e.cfg.Windows.Queue {
		return false
	}
	room := c.packetRoom()
	if room <= 0 {
		return false
	}
	q.fill, q.filled, q.room = c.e.txPool.get(), 0, room
	return true
}

// packetRoom returns how many bytes of the application the next packet has; 0 while that is
// not known, because the call has no connection yet and is secured.
func (c *Call) packetRoom() int {
	body := c.peer.body()
	switch {
	case c.conn != nil:
		if c.conn.plain {
			return body
		}
		return min(c.conn.sec.Room(body), wire.JumboData)
	case c.bundle != nil && c.bundle.security == nil:
		return body
	}
	return 0
}

// queue puts the packet being filled behind the others.
func (c *Call) queue(last bool) {
	q := &c.tx
	p := q.push()
	*p = txPacket{buf: q.fill, n: uint16(q.filled), last: last}
	q.fill = nil
	q.ended = last
}

// Room returns how many bytes Send would take.
func (c *Call) Room() int {
	if c.maySend() != nil {
		return 0
	}
	q := &c.tx
	n := (c.e.cfg.Windows.Queue - q.len()) * c.packetRoom()
	if q.fill != nil {
		n += q.room - q.filled - c.packetRoom()
	}
	return max(n, 0)
}

// SetTxLength announces how much will be sent. Errors: ErrAnnounced.
func (c *Call) SetTxLength(n int64) error {
	if n < 0 || c.tx.began || c.tx.left >= 0 {
		return ErrAnnounced
	}
	c.tx.left = n
	return nil
}

// acked takes in what was acknowledged: frees packets, and sees whether the application
// may send more, and whether all is done.
func (c *Call) acked(now Time, r cc.Progress) {
	if r.Hard > 0 {
		c.tx.free(&c.e.txPool, c.snd.Base())
	}
	c.peer.progress(now, r, false)
	if c.tx.short && c.tx.len() <= c.e.cfg.Windows.Queue*3/4 && !c.tx.ended {
		c.tx.short = false
		c.tell(Writable)
	}
	if !c.client && c.state == AwaitAck && c.snd.Arrived() {
		// An OpenAFS client may soft-ack the last packet and then never hard-ack it
		// (section 2.3): its softness is good enough.
		c.complete(now, Result{Completion: Succeeded})
		return
	}
	c.e.callsToSend.add(c)
}

// ackedAll is an implicit acknowledgement of everything.
func (c *Call) ackedAll(now Time) { c.acked(now, c.snd.OnAckAll(cc.Time(now))) }

// unsent is how many queued packets were never sent.
func (c *Call) unsent() int { return c.tx.next.Sub(c.snd.Next()) }

// transmitData writes the next datagram of DATA into buf: a packet to send again, or as many
// new ones as one datagram may have.
func (c *Call) transmitData(now Time, buf []byte) (b []byte, df bool) {
	if q, ok := c.snd.Lost(); ok {
		c.e.stats.Resent++
		c.peer.resent++
		return c.writeData(now, buf, q, 1, true)
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
	slots := min(n, c.peer.mtu.Slots())
	n = 1
	for n < slots && int(c.tx.at(first.Add(n-1)).n) == wire.JumboData {
		n++
	}
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

// writeData writes a datagram of n packets.
func (c *Call) writeData(now Time, buf []byte, first wire.Seq, n int, again bool) ([]byte, bool) {
	size := -wire.JumboHeaderSize
	for i := range n {
		size += int(c.tx.at(first.Add(i)).n) + wire.JumboHeaderSize
	}
	final := first.Add(n - 1)
	last := c.tx.at(final).last
	c.snd.SetMore(final.Add(1) != c.tx.next || !c.tx.ended)
	if !again {
		c.snd.SetMore(final.Add(1) != c.tx.next)
	} else {
		c.snd.SetMore(c.unsent() > 0)
	}
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
		c.snd.OnSend(cc.Time(now), cc.Packet{Seq: q, Serial: serial, Size: size, Ask: ask, Last: p.last && c.client})
	}
	if last && !again {
		c.sentLast()
	}
	return b, c.peer.mtu.DontFragment(size)
}

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
