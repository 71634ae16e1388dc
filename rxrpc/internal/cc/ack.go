package cc

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// An Ack is an ACK packet that the caller has accepted for the call.
type Ack struct {
	Serial wire.Serial // of the ACK packet itself, which orders ACKs; 0 if there is none
	For    wire.Serial // of the packet it answers, 0 none
	Reason wire.AckReason
	First  wire.Seq // everything before is hard-acked
	Acks   []byte   // soft acks of First and what follows; borrowed
}

// Progress says what an ACK or a timer has brought.
type Progress struct {
	Hard    int // packets newly hard-acked: the caller frees them
	Arrived int // packets newly known to have arrived, hard or soft
	Lost    int // packets newly given up: see Lost
	// Reduced: the window is made smaller, for what was given up because later packets have arrived.
	Reduced bool
	// The largest sizes among those that arrived and that were lost, and could not be
	// fragmented, for MTU.Progress.
	Largest, LargestLost int
}

// OnAck counts an ACK. What it says of packets that were never sent, or that an earlier
// one has hard-acked, is ignored. ACKs may come in any order: an older one (by
// its serial) still tells what has arrived, but takes nothing back.
func (s *Sender) OnAck(now Time, a Ack) Progress {
	var p Progress
	stale := s.anyAck && a.Serial != 0 && s.newest != 0 && a.Serial.Before(s.newest)
	if !stale {
		s.newest = a.Serial
	}
	s.anyAck = true
	flight := s.flight
	s.answered(now, &a)

	for s.base.Before(a.First) && s.base != s.next {
		t := s.at(s.base)
		if t.state == acked {
			s.softN--
		} else {
			s.arrived(now, s.base, t, &a, &p)
		}
		p.Hard++
		s.base++
	}
	if s.lowest.Before(s.base) {
		s.lowest = s.base
	}
	for i, v := range a.Acks {
		q := a.First.Add(i)
		if !s.has(q) {
			continue
		}
		t := s.at(q)
		have := v&wire.SoftAcked != 0
		switch {
		case have && t.state != acked:
			s.arrived(now, q, t, &a, &p)
			s.softN++
		case !have && t.state == acked && !stale:
			t.state = flying // taken back
			s.softN--
			s.flight++
		}
	}
	if s.softN > 0 && !stale {
		// What it does not reach to has not arrived, or was thrown away: data that was forged before the client
		// had proven itself, and acknowledged.
		for q := a.First.Add(len(a.Acks)); q.Before(s.next); q = q.Add(1) {
			if s.has(q) && s.at(q).state == acked {
				s.at(q).state = flying
				s.softN--
				s.flight++
			}
		}
	}
	s.finish(now, &p, flight)
	return p
}

// OnAckAll counts that everything sent has arrived: an ACKALL, or a reply, or a new call on
// the channel.
func (s *Sender) OnAckAll(now Time) Progress {
	return s.OnAck(now, Ack{First: s.next})
}

// prompt reports whether ACKs of a reason are sent as soon as the packet they name
// has arrived. The others may have waited.
func prompt(r wire.AckReason) bool {
	switch r {
	case wire.AckRequested, wire.AckDuplicate, wire.AckOutOfSequence, wire.AckPingResponse:
		return true
	}
	return false
}

// answered looks for what the ACK answers among PINGs and retransmissions.
func (s *Sender) answered(now Time, a *Ack) {
	if a.For == 0 {
		return
	}
	for i := range s.pings {
		if t := &s.pings[i]; t.serial == a.For {
			if a.Reason == wire.AckPingResponse {
				s.sampled(now, now-t.at)
			}
			s.rack.arrived(now, t.serial, t.at)
			*t = transmission{}
			s.backoff = 0
		}
	}
	if a.Reason != wire.AckDuplicate {
		return
	}
	for i := range s.resent {
		if t := &s.resent[i]; t.serial == a.For {
			*t = transmission{}
			s.needless(now)
		}
	}
}

func (s *Sender) sampled(now, rtt Time) {
	s.path.Sample(now, rtt)
	s.window.sample(max(rtt, Microsecond))
}

// arrived counts a packet that was not acknowledged before.
func (s *Sender) arrived(now Time, q wire.Seq, t *sent, a *Ack, p *Progress) {
	was := t.state
	t.state = acked
	if was == lost {
		s.lostN--
	} else {
		s.flight--
	}
	p.Arrived++
	if !t.pieces {
		p.Largest = max(p.Largest, int(t.size))
	}
	if t.serial == a.For && prompt(a.Reason) {
		s.sampled(now, now-t.at)
	}
	if s.highest.Before(q) {
		s.highest = q
	} else if !t.again {
		s.rack.reordered = true
	}
	least := s.path.Min(now)
	switch {
	case was == lost && !t.again:
		// It was given up too early, and not even sent again.
		s.credit += lossShare
	case t.again && least != 0 && now-t.at < least:
		// RFC 8985, section 6.2 step 2: no way there and back is so short; an
		// earlier transmission has arrived.
		s.forget(now, t.serial)
	case t.again && a.For != 0 && prompt(a.Reason) && t.serial.After(a.For):
		// Perhaps an earlier one. It is evidence of nothing.
	default:
		s.rack.arrived(now, t.serial, t.at)
		if t.again && a.Reason != wire.AckDuplicate {
			s.undoable = false
			if t.probe {
				s.losses(now, t.serial, 1, s.flight) // it mended a loss that nobody else saw
			}
		}
		if s.recovery && t.serial.After(s.cutAt) {
			s.recovered()
		}
		if t.serial.After(s.roundEnd) {
			s.roundEnd = s.serial
			s.round()
		}
	}
}

// forget drops a retransmission that was needless.
func (s *Sender) forget(now Time, serial wire.Serial) {
	for i := range s.resent {
		if s.resent[i].serial == serial {
			s.resent[i] = transmission{}
			s.needless(now)
		}
	}
}

// needless counts a retransmission that was not needed. If that holds for all since the
// last reduction the window was reduced for nothing.
func (s *Sender) needless(now Time) {
	s.spuriousN++
	s.rack.spurious(s.serial)
	if !s.undoable {
		return
	}
	if s.undo--; s.undo > 0 {
		return
	}
	s.undoable = false
	s.window.undo()
	for q := s.base; q != s.next; q++ {
		if t := s.at(q); t.state == lost {
			t.state = flying
			s.lostN--
			s.flight++
		}
	}
}

// finish does what follows from what an ACK has told.
func (s *Sender) finish(now Time, p *Progress, flight int) {
	if p.Arrived > 0 {
		s.started, s.backoff, s.probed = now, 0, false
		s.vain, s.arrivedAt = 0, now
		s.probeOld, s.probeNew = false, false
	}
	if p.Hard > 0 && s.flight == 0 {
		s.backoff = 0
	}
	s.reo = 0
	s.detect(now, p)
	if p.Arrived == 0 {
		return
	}
	if s.recovery {
		s.prr(p.Arrived, s.flight)
	}
	s.grow(p.Arrived, flight, s.path.Min(now))
}
