package cc

// Defaults of the retransmission time-out.
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

	minRTO, maxRTO Time // 0: the defaults
}

func (r *RTT) bounds() (lo, hi Time) {
	lo, hi = r.minRTO, r.maxRTO
	if lo <= 0 {
		lo = MinRTO
	}
	if hi <= 0 {
		hi = MaxRTO
	}
	return lo, max(lo, hi)
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
	lo, hi := r.bounds()
	if r.samples == 0 {
		return min(max(InitialRTO, lo), hi)
	}
	return min(max(r.srtt+max(4*r.rttvar, granularity), lo), hi)
}

// Want reports whether a packet should ask for an ACK for the sake of a sample:
// there are fewer than three, or none was asked for in the last second (Linux).
func (r *RTT) Want(now Time) bool {
	return r.samples < 3 || now-r.asked >= Second
}

// Asked says that a packet that asks for an ACK is sent.
func (r *RTT) Asked(now Time) { r.asked = now }

// Config sets what has a default otherwise. 0 is the default.
type Config struct {
	MinRTO, MaxRTO Time // MinRTO, MaxRTO
	Initial        int  // congestion window of a call when nothing is known, in packets: InitialWindow
	Window         int  // most packets of a call that are not hard-acked: MaxWindow
}

// Path is what the calls to one peer share. The zero value has the defaults and knows
// nothing.
type Path struct {
	RTT

	initial, window int

	cwnd, ssthresh int  // of the call that ended last
	left           Time // when that was
}

// Configure sets the path's parameters.
func (p *Path) Configure(c Config) {
	p.minRTO, p.maxRTO = c.MinRTO, c.MaxRTO
	p.initial, p.window = min(max(c.Initial, 0), MaxWindow), min(max(c.Window, 0), MaxWindow)
}

func (p *Path) firstWindow() int {
	if p.initial > 0 {
		return p.initial
	}
	return InitialWindow
}

func (p *Path) maxWindow() int {
	if p.window > 0 {
		return p.window
	}
	return MaxWindow
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
	first := p.firstWindow()
	if p.cwnd == 0 || now-p.left > remember {
		return first, MaxWindow
	}
	return max(min(p.cwnd/2, maxInherited), first), max(p.ssthresh, first)
}
