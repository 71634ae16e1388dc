package cc

// Bounds of the retransmission time-out.
const (
	MinRTO     = 200 * Millisecond // Linux; OpenAFS adds as much to its estimate
	MaxRTO     = 60 * Second       // OpenAFS; Linux has 120 s
	InitialRTO = 1 * Second        // Linux, RFC 6298
)

// granularity is the shortest time that a timer is trusted with.
const granularity = 1 * Millisecond

// RTT is the estimate of a path's round-trip time. The zero value has none.
type RTT struct {
	srtt, rttvar Time
	least        minFilter
	samples      int
	asked        Time // when an ACK was asked for last
}

// Sample adds a measurement: the time from a packet to the ACK that names its serial.
func (r *RTT) Sample(now, rtt Time) {
	rtt = min(max(rtt, Microsecond), MaxRTO)
	r.least.add(now, rtt)
	if r.samples == 0 {
		r.srtt, r.rttvar = rtt, rtt/2 // RFC 6298, 2.2
	} else {
		d := r.srtt - rtt
		if d < 0 {
			d = -d
		}
		r.rttvar += (d - r.rttvar) / 4 // RFC 6298, 2.3
		r.srtt += (rtt - r.srtt) / 8
	}
	if r.samples < 1<<30 {
		r.samples++
	}
}

// Samples returns how many measurements there were.
func (r *RTT) Samples() int { return r.samples }

// Smoothed returns the mean, 0 before the first sample.
func (r *RTT) Smoothed() Time { return r.srtt }

// Deviation returns the mean deviation, 0 before the first sample.
func (r *RTT) Deviation() Time { return r.rttvar }

// Min returns the smallest sample of the last five minutes, 0 if there is none.
func (r *RTT) Min(now Time) Time {
	r.least.turn(now)
	return r.least.get(now)
}

// RTO returns the time-out of a packet that asks for an ACK, before any backoff.
func (r *RTT) RTO() Time {
	if r.samples == 0 {
		return InitialRTO
	}
	return min(max(r.srtt+max(4*r.rttvar, granularity), MinRTO), MaxRTO)
}

// Want reports whether a packet should ask for an ACK for the sake of a sample:
// there are fewer than three, or none was asked for in the last second (Linux).
func (r *RTT) Want(now Time) bool {
	return r.samples < 3 || now-r.asked >= Second
}

// Asked says that a packet that asks for an ACK is sent.
func (r *RTT) Asked(now Time) { r.asked = now }

// Path is what the calls to one peer share.
type Path struct {
	RTT

	cwnd, ssthresh int  // of the call that ended last
	left           Time // when that was
}

// remember is how long a new call believes the window of the last one.
const remember = 10 * Second

// maxInherited is the largest window that a call begins with: bursts of several
// calls at once should not be larger than what OpenAFS sends.
const maxInherited = 32

// leave stores the window of a call that ends.
func (p *Path) leave(now Time, w *window) {
	p.cwnd, p.ssthresh, p.left = w.cwnd, w.ssthresh, now
}

// inherit returns the window that a call begins with (RFC 9040, temporal sharing).
func (p *Path) inherit(now Time) (cwnd, ssthresh int) {
	if p.cwnd == 0 || now-p.left > remember {
		return InitialWindow, MaxWindow
	}
	return min(max(p.cwnd/2, InitialWindow), maxInherited), max(p.ssthresh, InitialWindow)
}
