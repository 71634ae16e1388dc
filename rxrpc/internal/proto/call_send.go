package proto

import (
	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

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
	case c.waits:
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
	c.reduced(r)
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

func (c *Call) reduced(r cc.Progress) {
	if r.Reduced {
		c.e.stats.FastRecovery++
	}
}

// unsent is how many queued packets were never sent.
func (c *Call) unsent() int { return c.tx.next.Sub(c.snd.Next()) }
