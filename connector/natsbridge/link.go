package natsbridge

import "time"

// Times of a link (docs/hosts.md, "The link").
const (
	resendFirst = int64(250 * time.Millisecond)
	resendMost  = int64(2 * time.Second)
	ackDelay    = int64(20 * time.Millisecond)
	ackPackets  = 32
	ackBytes    = 256 << 10

	// linkFlight is how many bytes may be unacknowledged before more records wait to be put into packets.
	linkFlight = 4 << 20
	// linkPending is how many bytes may wait so before the other end is given up: whoever sends has a window of its own, but there
	// may be any number of them.
	linkPending = 1 << 30
	// resendBurst is how many packets are sent again at a time.
	resendBurst = 64
)

// link is one host's end of the stream of packets to and from another host. It has no clock
// and no socket: times come in, packets go out through send. What goes in by record comes
// out of the other end once, in order, or the link ends.
type link struct {
	own  packetHeader      // kind, host, run, session
	peer uint64            // session of the other end; 0: not known yet
	send func([]byte) bool // reports whether the packet can be used again

	// Out.
	last    uint64 // seq of the last packet made
	unacked []sentPacket
	flight  int      // bytes of them
	pend    [][]byte // full packets, without seq and ack, that wait for flight to sink
	pending int      // bytes of them
	most    int      // of these: the owner is to give the other end up
	fill    []byte   // the packet that records are appended to; nil: none
	size    sizeHint // of fill
	spare   *packets // to fill
	rto     int64
	resend  int64 // when the first unacked packet is due again; 0: there is none

	// In.
	taken     uint64 // all packets up to this one
	ackAt     int64  // when an acknowledgement is due; 0: none is
	ackOwed   int    // packets
	ackOwedB  int    // bytes
	ackNow    bool   // due with the next flush
	barriers  []linkBarrier
	onBarrier func(tag uint64) // the other end has taken all up to the barrier with that tag

	resent uint64 // packets sent again
	gaps   uint64 // packets that came out of order, or again
}

type sentPacket struct {
	seq   uint64
	b     []byte
	alone bool // nobody else has b
}

// linkBarrier waits until the other end has taken the packet seq.
type linkBarrier struct {
	seq, tag uint64
}

func newLink(own packetHeader, session uint64, spare *packets, send func([]byte) bool) *link {
	own.kind, own.session = packetLink, session
	return &link{own: own, send: send, spare: spare, rto: resendFirst, most: linkPending}
}

// record returns the packet to append one record to; the caller puts it back into fill.
func (l *link) record() []byte {
	if len(l.fill) >= fillPacket {
		l.pend = append(l.pend, l.fill)
		l.pending += len(l.fill)
		l.fill = nil
	}
	if l.fill == nil {
		l.fill = l.spare.get(l.size)
	}
	return l.fill
}

// barrier calls onBarrier with tag when the other end has taken every record so far.
func (l *link) barrier(tag uint64) {
	seq := l.last + uint64(len(l.pend))
	if l.fill != nil {
		seq++
	}
	l.barriers = append(l.barriers, linkBarrier{seq, tag})
}

// flush sends what was recorded, and an acknowledgement that is due.
func (l *link) flush(now int64) {
	if l.fill != nil {
		l.pend = append(l.pend, l.fill)
		l.pending += len(l.fill)
		l.fill = nil
	}
	n := 0
	for n < len(l.pend) && (l.flight == 0 || l.flight+len(l.pend[n]) <= linkFlight) {
		l.last++
		l.flight += len(l.pend[n])
		l.pending -= len(l.pend[n])
		l.size.was(len(l.pend[n]))
		alone := l.out(l.last, l.pend[n])
		l.unacked = append(l.unacked, sentPacket{l.last, l.pend[n], alone})
		l.pend[n] = nil
		n++
	}
	l.pend = dropFirst(l.pend, n)
	if l.resend == 0 && len(l.unacked) > 0 {
		l.resend = now + l.rto
	}
	if l.ackNow || l.ackAt != 0 && l.ackAt <= now {
		if b := l.spare.get(0); l.out(0, b) {
			l.spare.put(b)
		}
	}
}

// out sends a packet with what is known now.
func (l *link) out(seq uint64, b []byte) bool {
	h := l.own
	h.peer, h.seq, h.ack = l.peer, seq, l.taken
	h.put(b)
	l.ackAt, l.ackNow, l.ackOwed, l.ackOwedB = 0, false, 0, 0
	return l.send(b)
}

// receive takes a packet of the other end's session. Its records are to be handled if it says so.
func (l *link) receive(h *packetHeader, n int, now int64) (handle bool) {
	l.acked(h.ack, now)
	if h.seq == 0 {
		return false
	}
	if h.seq != l.taken+1 {
		l.gaps++
		l.ackNow = true
		return false
	}
	l.taken++
	l.ackOwed++
	l.ackOwedB += n
	if l.ackOwed >= ackPackets || l.ackOwedB >= ackBytes {
		l.ackNow = true
	} else {
		l.ackSoon(now)
	}
	return true
}

// ackSoon sees to it that something goes to the other end within ackDelay.
func (l *link) ackSoon(now int64) {
	if l.ackAt == 0 {
		l.ackAt = now + ackDelay
	}
}

// acked forgets the packets that the other end has taken. What it cannot have taken it is
// not believed.
func (l *link) acked(ack uint64, now int64) {
	if ack > l.last {
		return
	}
	n := 0
	for n < len(l.unacked) && l.unacked[n].seq <= ack {
		l.flight -= len(l.unacked[n].b)
		if l.unacked[n].alone {
			l.spare.put(l.unacked[n].b)
		}
		l.unacked[n].b = nil
		n++
	}
	if n == 0 {
		return
	}
	l.unacked = dropFirst(l.unacked, n)
	l.rto, l.resend = resendFirst, 0
	if len(l.unacked) > 0 {
		l.resend = now + l.rto
	}
	for len(l.barriers) > 0 && l.barriers[0].seq <= ack {
		tag := l.barriers[0].tag
		l.barriers = l.barriers[1:]
		l.onBarrier(tag)
	}
}

// tick does what is due.
func (l *link) tick(now int64) {
	if l.resend != 0 && l.resend <= now {
		for i := range min(len(l.unacked), resendBurst) {
			l.resent++
			l.again(l.unacked[i])
		}
		l.rto = min(2*l.rto, resendMost)
		l.resend = now + l.rto
	}
	l.flush(now)
}

func (l *link) again(p sentPacket) {
	b := append([]byte(nil), p.b...)
	h := l.own
	h.peer, h.seq, h.ack = l.peer, p.seq, l.taken
	h.put(b)
	l.send(b)
}

// next is when tick has something to do; 0: never.
func (l *link) next() int64 {
	switch {
	case l.ackAt == 0:
		return l.resend
	case l.resend == 0:
		return l.ackAt
	}
	return min(l.ackAt, l.resend)
}

// dropFirst drops the first n of s. What is empty begins at its beginning again, so that a queue that is filled and emptied needs no
// new memory, unless it has become long.
func dropFirst[T any](s []T, n int) []T {
	switch rest := s[n:]; {
	case len(rest) > 0:
		return rest
	case cap(s) > 256:
		return nil
	}
	return s[:0]
}
