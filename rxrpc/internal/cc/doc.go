// Package cc is what a sender of RxRPC knows of its path: how long the way there and
// back takes, how many packets it carries, how large they may be, and which of
// those sent are lost. It is arithmetic on packet numbers and times: no socket, no
// goroutine, no clock, and no allocation once a call's window has grown.
//
//	Path    of a peer, shared by its calls: round-trip times, and what a call that
//	        ended leaves to the next
//	Sender  of one direction of a call: what was sent and acknowledged, the congestion
//	        window, loss detection, the timers
//	MTU     of a peer: the search for the size of its datagrams
//
// # Round trips
//
// A sample is the time between a packet and the ACK that names its serial, which
// no retransmission shares; ACKs that may have waited (DELAY, IDLE) give none
// (OpenAFS and Linux agree). Smoothing is Jacobson's (RFC 6298). The time-out for
// retransmission is srtt + 4 rttvar, at least 200 ms (Linux), at most 60 s
// (OpenAFS), 1 s before the first sample. To it comes what the peer may take before it
// acknowledges a packet that does not ask for it: 100 ms, and 400 ms more
// after the last packet of a request, which the reply acknowledges (OpenAFS). It
// doubles each time until something arrives.
//
// # Loss
//
// RACK-TLP (RFC 8985). The table of soft ACKs is its SACK, Rx's serials are its time
// stamps: a packet is lost if one of a later serial has arrived and the time of
// reordering has passed, a quarter of the smallest round trip at first, more whenever an
// ACK of reason DUPLICATE, which is Rx's D-SACK, names a retransmission. Retransmissions
// can be found lost the same way. A tail that goes unanswered is probed after two
// round trips. A soft ACK can be taken back: the packet flies again.
//
// # Congestion
//
// With 1 % of random loss the Reno that other implementations have, and CUBIC,
// which is Reno at such round-trip times, keep 12 packets under way, whatever the
// path carries. A window of at most 255 packets does not need to fill the
// Internet; it has to tell a bad line from a full queue. So:
//
//   - slow start from 10 packets (RFC 6928), left by HyStart++ (RFC 9406)
//   - while the round trips show no queue the window grows by an eighth per round trip,
//     otherwise by one packet, as Reno does
//   - a loss is congestion if the round trips show a queue, or if more is lost than
//     one packet in fifty, which is what BBRv3 bears as well; an account of
//     eight packets smooths that. Other losses are only repaired.
//   - congestion multiplies the window by 0.7 (CUBIC, RFC 9438), at most once per
//     round trip, and proportional rate reduction (RFC 6937) spreads it over one
//   - a retransmission that proves needless gives the window back
//   - after a time-out one packet; after idling, half the window per time-out, not
//     less than 10 (RFC 5681, RFC 7661)
//
// On a path that queues it yields like CUBIC, on one that drops early like BBRv3, on a
// line with less than 2 % of errors it keeps its window.
package cc
