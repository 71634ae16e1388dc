package cc

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// firstWindow is how many packets a peer is taken to hold before it says (Linux).
const firstWindow = 16

// A Sender is one direction of a call at the side that sends DATA. It is prepared by
// Reset, and not to be copied after. It knows packets by their seq and serial;
// what is in them, the caller keeps.
//
// Each time something has changed the caller asks Lost for a packet to send again and,
// if there is none, Window for how many new ones may go, and tells each one with
// OnSend. It tells what ACKs say with OnAck, and calls OnTimer when Deadline has come.
type Sender struct {
	path *Path
	ring
	window

	rwind   int  // the peer's window
	more    bool // the caller has packets that were never sent
	flight  int  // packets under way
	lostN   int  // packets lost and not sent again yet
	softN   int  // packets soft-acked
	lowest  wire.Seq
	highest wire.Seq // highest acknowledged
	serial  wire.Serial

	newest   wire.Serial // highest serial of an ACK processed
	anyAck   bool
	roundEnd wire.Serial // last sent when the round began
	cutAt    wire.Serial // last sent when the window was reduced
	cut      bool

	rack  rack
	pings [4]transmission
	pingN int

	// Retransmissions since the last reduction, of which none has been found to be
	// needed, and what is remembered of them.
	resent    [8]transmission
	resentN   int
	undo      int // how many of them are not known to be needless
	undoable  bool
	sinceAsk  int  // packets since the last that asked for an ACK
	lastSend  Time // of a packet, or of a PING
	started   Time // when the time-out began
	delay     Time // what the peer may take before it acknowledges
	backoff   uint
	persist   uint // questions after a closed window
	probed    bool // the tail was probed since the last progress
	probeNew  bool // a new packet is to be sent as probe
	probeOld  bool // packet probeSeq is to be sent again as probe
	probeSeq  wire.Seq
	reo       Time // when packets are to be looked at again, 0 never
	timeouts  int
	vain      int  // timeouts since anything has arrived
	arrivedAt Time // when that was, or the first packet was sent
	sentAny   bool
	spuriousN int
}

// A transmission is a packet that was sent at some time.
type transmission struct {
	serial wire.Serial
	at     Time
}

// Reset prepares s for a call over path.
func (s *Sender) Reset(path *Path, now Time) {
	pkts := s.pkts
	*s = Sender{path: path, rwind: firstWindow}
	s.pkts = pkts
	s.ring.reset()
	s.lowest = s.base
	s.rack.mult = 1
	s.window.reset(path.inherit(now))
}

// SetPeerWindow sets how many packets beyond the hard-acked ones the peer takes.
// A window of 0 stops all new packets; OnTimer says when to ask about it.
func (s *Sender) SetPeerWindow(packets int) { s.rwind = min(max(packets, 0), MaxWindow) }

// SetMore says whether there are packets that were never sent, besides those that
// are just being sent. It decides how a tail is probed and whether a closed window is.
func (s *Sender) SetMore(more bool) { s.more = more }

// Window returns how many packets may be sent for the first time now.
func (s *Sender) Window() int {
	room := s.room()
	n := min(s.cwnd-s.flight-s.lostN, room)
	if s.probeNew && n < 1 && room > 0 {
		n = 1
	}
	return max(n, 0)
}

// room returns how many packets more the peer takes.
func (s *Sender) room() int { return min(s.rwind, s.path.maxWindow()) - s.len() }

// Lost returns the packet that is to be sent again now, if there is one.
func (s *Sender) Lost() (seq wire.Seq, ok bool) {
	if s.probeOld {
		return s.probeSeq, true
	}
	if s.lostN == 0 || s.flight >= s.cwnd {
		return 0, false
	}
	for q := s.lowest; q != s.next; q++ {
		if s.at(q).state == lost {
			s.lowest = q
			return q, true
		}
	}
	return 0, false
}

// LostRun returns how many packets from the one that Lost returns on are to be sent again now, without
// a gap: at least 1, at most most.
func (s *Sender) LostRun(most int) int {
	if s.probeOld {
		return 1
	}
	n := 1
	for most = min(most, s.cwnd-s.flight); n < most; n++ {
		if q := s.lowest.Add(n); !s.has(q) || s.at(q).state != lost {
			break
		}
	}
	return n
}

// WantAck reports whether the next datagram, of n packets, should ask for an ACK.
// again: it is sent again; last: it ends the call's direction. Never ask with the last
// packet of a reply, whatever this says (rxrpc reference 2.3: an OpenAFS client
// soft-acks it and then stays silent). The rules are Linux's, but that a window
// about to close is no reason: one that is used well always is. Eight packets of each
// window ask, so that one of the last that fit is among them.
func (s *Sender) WantAck(now Time, n int, again, last bool) bool {
	switch {
	case again:
		return true
	case last:
		return s.path.Want(now)
	case !s.more || s.path.Want(now) || s.probeNew:
		return true
	case s.rwind <= 2 || s.cwnd <= 4:
		return true
	}
	return s.sinceAsk+n >= max(min(s.cwnd, s.rwind)/8, 2)
}

// A Packet is what OnSend wants to know.
type Packet struct {
	Seq    wire.Seq
	Serial wire.Serial
	Size   int  // length of the datagram it is in, after the header
	Ask    bool // it asks for an ACK
	Last   bool // it ends a request: the reply may take the place of the ACK
	Pieces bool // it may be fragmented, so that its fate says nothing of the path's MTU
}

// OnSend says that a packet is sent: one returned by Lost, or the next new one. The packets
// of a jumbo datagram are told one by one, in order; all of them ask for an ACK if
// the last one does. Anything else is ignored.
func (s *Sender) OnSend(now Time, p Packet) {
	var t *sent
	switch {
	case p.Seq == s.next:
		if s.sentAny && s.flight == 0 && s.lostN == 0 {
			s.idle(now-s.lastSend, s.path.RTO(), s.path.firstWindow())
		}
		t = s.push()
		*t = sent{state: flying}
		s.flight++
	case s.has(p.Seq):
		t = s.at(p.Seq)
		if t.state == acked {
			return
		}
		if t.state == lost {
			s.lostN--
			s.flight++
		}
		t.state, t.again = flying, true
		s.remember(p.Serial, now)
	default:
		return
	}
	t.at, t.serial, t.size, t.pieces = now, p.Serial, uint16(p.Size), p.Pieces
	t.probe = s.probeOld && p.Seq == s.probeSeq
	s.probeOld, s.probeNew = false, false
	if s.recovery {
		s.prrOut++
	}
	s.serial = p.Serial
	if !s.sentAny {
		s.roundEnd, s.arrivedAt = p.Serial, now
	}
	if s.flight == 1 || !s.sentAny {
		s.started = now
	}
	s.sentAny, s.lastSend, s.persist = true, now, 0
	s.sinceAsk++
	switch {
	case p.Ask:
		s.delay, s.sinceAsk = 0, 0
		s.path.Asked(now)
	case p.Last:
		s.delay = lastDelay
	default:
		s.delay = ackDelay
	}
}

// OnPing says that a PING of this call is sent. Its answer measures the path, and says that
// what was sent before has had its time. Of more than four the oldest is forgotten.
func (s *Sender) OnPing(now Time, serial wire.Serial) {
	s.pings[s.pingN%len(s.pings)] = transmission{serial, now}
	s.pingN++
	s.path.Asked(now)
	if s.flight == 0 {
		s.lastSend = now
	}
}

// remember keeps a retransmission for the time when an ACK says it was needless.
func (s *Sender) remember(serial wire.Serial, now Time) {
	if s.undoable {
		s.undo++
	}
	s.resent[s.resentN%len(s.resent)] = transmission{serial, now}
	s.resentN++
}

// Done says that the call is over: the next one on the path begins with what this one found.
func (s *Sender) Done(now Time) {
	if s.sentAny && s.anyAck {
		s.path.leave(now, &s.window)
	}
}

// Stalled returns how many time-outs there were since anything has arrived, and how long
// that is ago. A peer that answers PINGs and gets no DATA would be waited for without end otherwise.
func (s *Sender) Stalled(now Time) (timeouts int, ago Time) {
	if s.vain == 0 {
		return 0, 0
	}
	return s.vain, now - s.arrivedAt
}

// Base returns the first packet that is not hard-acked.
func (s *Sender) Base() wire.Seq { return s.base }

// Next returns the first packet that was never sent.
func (s *Sender) Next() wire.Seq { return s.next }

// Arrived reports whether everything sent has been acknowledged, if only softly.
func (s *Sender) Arrived() bool { return s.softN == s.len() }

// Stats are figures for who watches.
type Stats struct {
	Cwnd, Ssthresh, PeerWindow int // packets
	Flight, Lost, Soft         int // packets
	Timeouts, Resent, Spurious int // since Reset
	Backoff                    int
}

// Stats returns the figures.
func (s *Sender) Stats() Stats {
	return Stats{
		Cwnd: s.cwnd, Ssthresh: s.ssthresh, PeerWindow: s.rwind,
		Flight: s.flight, Lost: s.lostN, Soft: s.softN,
		Timeouts: s.timeouts, Resent: s.resentN, Spurious: s.spuriousN, Backoff: int(s.backoff),
	}
}
