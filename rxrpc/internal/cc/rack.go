package cc

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// Parameters of RACK (RFC 8985).
const (
	dupThreshold  = 3  // packets beyond a hole that close it, if nothing was ever reordered
	reoPersist    = 16 // reductions after which a widened window of reordering is narrowed
	maxReoMult    = 16 // four round trips: more than srtt is never waited for
	lossTimeSlack = granularity
)

// rack is the state of RACK: the packet sent last among those that have arrived.
type rack struct {
	serial    wire.Serial
	at        Time // when it was sent
	rtt       Time // its round trip
	any       bool
	reordered bool // packets have overtaken each other

	mult    Time        // reordering window, in quarters of the smallest round trip
	widened wire.Serial // last sent when mult grew
	persist int
}

// arrived counts a packet that has arrived (RFC 8985, section 6.2 step 2). Serials tell which
// of two was sent later.
func (r *rack) arrived(now Time, serial wire.Serial, at Time) {
	if r.any && !serial.After(r.serial) {
		return
	}
	r.any, r.serial, r.at, r.rtt = true, serial, at, now-at
}

// spurious widens the window, at most once per round trip (section 6.2 step 4).
func (r *rack) spurious(last wire.Serial) {
	r.persist = reoPersist
	if r.any && r.widened != 0 && !r.serial.After(r.widened) {
		return
	}
	r.widened = last
	r.mult = min(r.mult+1, maxReoMult)
}

// reduced counts a reduction of the congestion window.
func (r *rack) reduced() {
	if r.persist > 0 {
		if r.persist--; r.persist == 0 {
			r.mult = 1
		}
	}
}

// reordering returns how long a packet may arrive after one that was sent later.
func (s *Sender) reordering(now Time) Time {
	if !s.rack.reordered && (s.recovery || s.softN >= dupThreshold) {
		return 0
	}
	w := s.rack.mult * s.path.Min(now) / 4
	return max(min(w, s.path.srtt), lossTimeSlack)
}

// detect gives packets up (section 6.2 step 5), and sets the time for another look
// if some are too young.
func (s *Sender) detect(now Time, p *Progress) {
	if !s.rack.any {
		return
	}
	wait := s.rack.rtt + s.reordering(now)
	n, flight := 0, s.flight
	var newest wire.Serial
	for q := s.base; q != s.next; q++ {
		t := s.at(q)
		if !t.serial.Before(s.rack.serial) {
			if s.resentN == 0 {
				break // serials are in the order of seqs
			}
			continue
		}
		if t.state != flying {
			continue
		}
		if due := t.at + wait; due > now {
			if s.reo == 0 || due < s.reo {
				s.reo = due
			}
			continue
		}
		if s.lostN == 0 || q.Before(s.lowest) {
			s.lowest = q
		}
		t.state = lost
		s.flight--
		s.lostN++
		if n == 0 || t.serial.After(newest) {
			newest = t.serial
		}
		n++
		if !t.pieces {
			p.LargestLost = max(p.LargestLost, int(t.size))
		}
	}
	if n > 0 && s.losses(now, newest, n, flight) {
		p.Reduced = true
	}
	p.Lost += n
}

// losses counts n losses, the newest of them sent with a serial, out of flight
// packets, and reports whether the window is reduced for them. What was sent before the last
// reduction has had its effect.
func (s *Sender) losses(now Time, newest wire.Serial, n, flight int) bool {
	if s.cut && !newest.After(s.cutAt) || !s.window.lost(n, s.path.Min(now)) {
		return false
	}
	s.recovered()
	s.cut, s.cutAt = true, s.serial
	s.reduce(flight)
	s.undo, s.undoable = 0, true
	s.rack.reduced()
	s.cwnd = s.flight + 1 // until the ACK that told has been counted
	return true
}
