package cc

// What a peer may take before it acknowledges a packet that does not ask for it.
const (
	ackDelay   = 100 * Millisecond          // OpenAFS: rx_softAckDelay
	lastDelay  = ackDelay + 400*Millisecond // OpenAFS bears as much with the last packet of a request
	minProbe   = 10 * Millisecond           // shortest time before a tail is probed
	maxPersist = 2 * Second                 // between questions after a closed window
	maxShift   = 10                         // MinRTO << 9 is beyond MaxRTO
)

// An Action is what a timer asks for.
type Action uint8

// Actions.
const (
	// ActNone: nothing, or only that Lost and Window be asked again.
	ActNone Action = iota
	// ActProbe: the tail has gone unanswered. Lost or Window offers a packet that the congestion
	// window does not count.
	ActProbe
	// ActTimeout: nothing has arrived for the time-out. All packets under way are given
	// up; Lost offers the first.
	ActTimeout
	// ActPing: the peer's window is closed and may have opened without our hearing of
	// it. The caller sends a PING and tells OnPing.
	ActPing
)

func (s *Sender) rto() Time {
	_, most := s.path.bounds()
	return min((s.path.RTO()+s.delay)<<min(s.backoff, maxShift), max(most, s.path.RTO()))
}

// persistTime is how long a closed window is left alone. The peer tells when it opens; this is for
// when that is lost.
func (s *Sender) persistTime() Time {
	return min(s.path.RTO()<<min(s.persist, maxShift), max(maxPersist, s.path.RTO()))
}

// probeTime is how long a tail is left alone (RFC 8985, section 7.2).
func (s *Sender) probeTime() Time {
	if s.path.samples == 0 {
		return InitialRTO + min(s.delay, ackDelay)
	}
	return max(2*s.path.srtt, minProbe) + min(s.delay, ackDelay)
}

// blocked reports whether only the peer's window keeps everything from being sent.
func (s *Sender) blocked() bool {
	return s.more && s.flight == 0 && s.lostN == 0 && s.room() <= 0
}

// Deadline returns when OnTimer is to be called, if ever.
func (s *Sender) Deadline() (Time, bool) {
	due := never
	switch {
	case s.flight > 0:
		due = s.started + s.rto()
		if s.reo != 0 {
			due = min(due, s.reo)
		} else if s.mayProbe() {
			// A probe comes before a time-out, whatever the round trip is.
			due = min(due, max(s.lastSend, s.started)+s.probeTime())
		}
	case s.blocked():
		due = max(s.lastSend, s.started) + s.persistTime()
	}
	return due, due != never
}

func (s *Sender) mayProbe() bool { return !s.probed && s.backoff == 0 && s.lostN == 0 }

// OnTimer does what is due, if anything is.
func (s *Sender) OnTimer(now Time) (Action, Progress) {
	var p Progress
	if due, ok := s.Deadline(); !ok || now < due {
		return ActNone, p
	}
	switch {
	case s.flight == 0:
		s.persist++
		s.lastSend = now
		return ActPing, p
	case s.reo == 0 && s.mayProbe():
		s.probe(now)
		return ActProbe, p
	case now >= s.started+s.rto():
		return ActTimeout, s.timeoutAll(now)
	default:
		s.reo = 0
		s.detect(now, &p)
		return ActNone, p
	}
}

// probe offers a packet that the window does not count.
func (s *Sender) probe(now Time) {
	s.probed = true
	s.started = now // a whole time-out from here (RFC 8985, section 7.3)
	if s.more && s.room() > 0 {
		s.probeNew = true
		return
	}
	for q := s.next - 1; s.has(q); q-- {
		if s.at(q).state == flying {
			s.probeOld, s.probeSeq = true, q
			return
		}
	}
}

// timeoutAll gives up everything that is under way (RFC 8985, section 6.3).
func (s *Sender) timeoutAll(now Time) (p Progress) {
	again := s.backoff > 0
	s.timeouts++
	s.vain++
	s.backoff = min(s.backoff+1, 32)
	for q := s.base; q != s.next; q++ {
		if t := s.at(q); t.state == flying {
			t.state = lost
			s.flight--
			s.lostN++
			p.Lost++
			if !t.pieces {
				p.LargestLost = max(p.LargestLost, int(t.size))
			}
		}
	}
	s.lowest = s.base
	s.window.timeout(again)
	s.cut, s.cutAt = true, s.serial
	if !again {
		s.undo, s.undoable = 0, true
	}
	s.reo, s.probeOld, s.probeNew = 0, false, false
	s.started = now
	return p
}
