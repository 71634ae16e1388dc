package cc

// Sizes of windows, in packets.
const (
	InitialWindow = 10  // RFC 6928
	MaxWindow     = 255 // as many as soft ACKs can describe
	minSsthresh   = 2
)

// Parameters of the congestion window; the package comment says why.
const (
	betaNum, betaDen = 7, 10 // RFC 9438: what congestion leaves of the window
	fastShare        = 8     // growth per round trip without a queue: 1/8

	lossShare   = 50 // losses borne: one in 50
	maxCredit   = 8  // losses borne at once
	firstCredit = 4
)

// HyStart++ (RFC 9406, section 4.3).
const (
	cssDivisor    = 4
	cssRounds     = 5
	minRTTSamples = 3 // RFC: 8; Rx has a sample only where an ACK was asked for
	minQueue      = 4 * Millisecond
	maxQueue      = 16 * Millisecond
)

// A window is a congestion window in packets.
type window struct {
	cwnd, ssthresh int
	acked          int // packets counted towards the next growth
	credit         int // losses borne, in 1/lossShare of a packet

	// The round under way and the last one with enough samples.
	roundMin, lastMin Time // smallest round trip in them, 0 none
	roundSamples      int

	css      int  // rounds of conservative slow start, 0 none
	cssBase  Time // smallest round trip when that began
	recovery bool // a reduction is being spread over a round trip

	// Proportional rate reduction (RFC 6937).
	prrFlight, prrDelivered, prrOut int

	// What a needless reduction gives back.
	priorCwnd, priorSsthresh int
}

func (w *window) reset(cwnd, ssthresh int) {
	*w = window{cwnd: cwnd, ssthresh: ssthresh, credit: firstCredit * lossShare}
}

func (w *window) slowStart() bool { return w.cwnd < w.ssthresh }

// queue is how much longer than the shortest a round trip has to be to show a queue.
func queue(least Time) Time { return min(max(least/8, minQueue), maxQueue) }

// queued reports whether round trips show a queue, given the shortest of the path.
func (w *window) queued(least Time) bool {
	seen := w.lastMin
	if w.roundSamples >= minRTTSamples {
		seen = w.roundMin
	}
	return seen != 0 && least != 0 && seen > least+queue(least)
}

// sample counts a round trip.
func (w *window) sample(rtt Time) {
	if w.roundMin == 0 || rtt < w.roundMin {
		w.roundMin = rtt
	}
	w.roundSamples++
	switch {
	case w.css != 0 && w.roundSamples >= minRTTSamples && w.roundMin < w.cssBase:
		w.css = 0 // it was no queue: slow start goes on
	case w.css == 0 && w.slowStart() && w.roundSamples >= minRTTSamples && w.lastMin != 0 &&
		w.roundMin >= w.lastMin+queue(w.lastMin):
		w.css, w.cssBase = 1, w.roundMin
	}
}

// round ends a round trip.
func (w *window) round() {
	if w.roundSamples >= minRTTSamples {
		w.lastMin, w.roundMin, w.roundSamples = w.roundMin, 0, 0
	}
	if w.css == 0 {
		return
	}
	if w.css++; w.css > cssRounds {
		w.css, w.ssthresh = 0, max(w.cwnd, minSsthresh)
	}
}

// grow counts n packets that arrived while flight were under way before.
func (w *window) grow(n, flight int, least Time) {
	w.credit = min(w.credit+n, maxCredit*lossShare)
	if w.recovery || w.cwnd >= MaxWindow {
		return
	}
	// A window that was not used says nothing of the path (RFC 7661).
	if w.slowStart() && 2*flight <= w.cwnd || !w.slowStart() && 4*flight < 3*w.cwnd {
		return
	}
	switch {
	case w.slowStart() && w.css == 0:
		w.cwnd = min(w.cwnd+n, max(w.ssthresh, w.cwnd+1))
	case w.slowStart():
		w.step(n, cssDivisor)
	case w.queued(least):
		w.step(n, w.cwnd)
	default:
		w.step(n, min(fastShare, w.cwnd))
	}
	w.cwnd = min(w.cwnd, MaxWindow)
}

// step grows by one packet for each per that arrive.
func (w *window) step(n, per int) {
	w.acked += n
	w.cwnd += w.acked / per
	w.acked %= per
}

// lost counts n losses of packets sent since the last reduction, and reports
// whether they are congestion.
func (w *window) lost(n int, least Time) bool {
	w.credit -= n * lossShare
	congested := w.credit < 0 || w.queued(least)
	w.credit = max(w.credit, 0)
	return congested
}

// reduce begins a reduction; flight packets are under way.
func (w *window) reduce(flight int) {
	w.priorCwnd, w.priorSsthresh = w.cwnd, w.ssthresh
	w.ssthresh = max(w.cwnd*betaNum/betaDen, minSsthresh)
	w.recovery, w.css, w.acked = true, 0, 0
	w.prrFlight, w.prrDelivered, w.prrOut = max(flight, 1), 0, 0
}

// prr sets the window during a reduction: n packets have arrived, flight are under way.
func (w *window) prr(n, flight int) {
	w.prrDelivered += n
	var send int
	if flight > w.ssthresh {
		send = (w.prrDelivered*w.ssthresh+w.prrFlight-1)/w.prrFlight - w.prrOut
	} else {
		send = min(w.ssthresh-flight, max(w.prrDelivered-w.prrOut, n)+1)
	}
	if w.prrOut == 0 {
		send = max(send, 1) // the first retransmission goes out at once
	}
	w.cwnd = max(flight+max(send, 0), 1)
}

// recovered ends a reduction.
func (w *window) recovered() {
	if w.recovery {
		w.recovery, w.cwnd = false, w.ssthresh
	}
}

// timeout reduces to one packet. Of several in a row the first counts.
func (w *window) timeout(again bool) {
	if !again {
		if w.recovery {
			w.cwnd = w.ssthresh
		}
		w.priorCwnd, w.priorSsthresh = w.cwnd, w.ssthresh
		w.ssthresh = max(w.cwnd*betaNum/betaDen, minSsthresh)
	}
	w.cwnd, w.recovery, w.css, w.acked = 1, false, 0, 0
	w.credit = 0
}

// undo takes the last reduction back.
func (w *window) undo() {
	if w.priorCwnd == 0 {
		return
	}
	w.cwnd, w.ssthresh = max(w.cwnd, w.priorCwnd), max(w.ssthresh, w.priorSsthresh)
	w.priorCwnd, w.recovery = 0, false
}

// idle halves the window for each time-out that nothing was sent.
func (w *window) idle(quiet, rto Time, least int) {
	if w.recovery || quiet <= rto {
		return
	}
	w.ssthresh = max(w.ssthresh, w.cwnd*3/4)
	for ; quiet > rto && w.cwnd > least; quiet -= rto {
		w.cwnd = max(w.cwnd/2, least)
	}
}
