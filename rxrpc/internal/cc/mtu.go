package cc

import "github.com/cnbus/cnbus/rxrpc/internal/wire"

// Sizes of datagrams, in bytes after the header of 28.
const (
	// DefaultData is what a datagram holds until more is known: one DATA packet of
	// the size that fits a jumbo datagram.
	DefaultData = wire.JumboData
	// BaseData passes every path that matters: 1280 bytes, the least that IPv6
	// allows, less IPv6, UDP and Rx headers.
	BaseData = 1280 - 40 - 8 - wire.HeaderSize
	// MinData is the smallest that anybody is asked to live with (Linux): the 576
	// bytes of IPv4 less IPv6, UDP and Rx headers.
	MinData = 500
)

// Times of the search.
const (
	mtuRaise  = 600 * Second // RFC 8899, section 5.1.1
	mtuSpread = 1 * Second   // between two probes that failed
)

// What fails how often before it is believed.
const (
	mtuProbes    = 2 // probes of a size (Linux)
	mtuTimeouts  = 2 // time-outs in a row of packets of the size in use
	mtuBlackHole = 6 // losses in a row of such packets while smaller ones arrive
	mtuEnough    = 8 // bytes that are not worth a probe
)

// MTUConfig bounds the search.
type MTUConfig struct {
	Overhead int  // of IP and UDP: 28 for IPv4, 48 for IPv6
	IfMTU    int  // of the interface, 0: 1500
	Start    int  // size believed at first, 0: DefaultData, at most what IfMTU allows
	MaxJumbo int  // packets in a datagram that is sent; below 2: no jumbos
	Off      bool // no probes: Start is it
	Raise    Time // until sizes that failed are tried again, 0: 10 min (RFC 8899)
}

// MTU searches for the size of the datagrams that a path carries (reference 2.7; RFC 8899).
// A PING padded to a trial size either returns or not. Nothing depends on ICMP,
// but what it says is used.
//
//	good  a size that passes, as far as is known
//	bad   the smallest known not to
//
// Only good sizes are sent unfragmented; a path that swallows them (a black hole) is
// seen by time-outs.
type MTU struct {
	cfg      MTUConfig
	ceiling  int // what the interface holds
	peerMax  int // what the peer takes
	jumbo    int // packets in a datagram that the peer takes
	good     int
	bad      int
	start    int    // good before anything was proven
	proven   int    // largest that was seen to arrive
	failed   int    // probes of trial that failed
	lost     uint64 // probes, since TakeLost
	trial    int    // size under way, 0 none
	serial   wire.Serial
	sent     Time
	next     Time // no probe before
	done     bool // nothing to gain until raise
	raise    Time
	timeouts int
	losses   int
	vanished int // size that these are about
}

// Reset prepares m for a peer of whom nothing is known.
func (m *MTU) Reset(cfg MTUConfig) {
	if cfg.IfMTU <= 0 {
		cfg.IfMTU = 1500
	}
	*m = MTU{cfg: cfg, jumbo: 1, peerMax: wire.DefaultMTU}
	m.ceiling = min(max(cfg.IfMTU-cfg.Overhead, 0), 65535-cfg.Overhead) - wire.HeaderSize
	m.ceiling = max(m.ceiling, MinData)
	if cfg.Start <= 0 {
		m.cfg.Start = DefaultData
	}
	if cfg.Raise <= 0 {
		m.cfg.Raise = mtuRaise
	}
	m.restart(min(max(m.cfg.Start, MinData), m.ceiling))
}

// restart begins a search from a size that is believed.
func (m *MTU) restart(good int) {
	m.good, m.start, m.bad = good, good, m.ceiling+1
	m.trial, m.failed, m.done, m.timeouts, m.losses, m.vanished = 0, 0, false, 0, 0, 0
}

// SetPeer sets what the peer advertises: the largest body of a packet and how many
// DATA packets in a datagram it takes.
func (m *MTU) SetPeer(maxData, jumbo int) {
	maxData, jumbo = max(maxData, MinData), max(jumbo, 1)
	if maxData == m.peerMax && jumbo == m.jumbo {
		return
	}
	if maxData > m.peerMax || jumbo > m.jumbo {
		m.done = false
	}
	m.peerMax, m.jumbo = maxData, jumbo
}

// limit is the largest size worth trying.
func (m *MTU) limit() int {
	n := min(m.ceiling, m.peerMax)
	if most := min(m.jumbo, m.cfg.MaxJumbo, wire.MaxJumbo); most > 1 {
		return min(n, wire.JumboSize(most))
	}
	return min(n, singleMax)
}

// singleMax is the largest body of a DATA packet that stands alone: more gains
// little, and who expects packets of an Ethernet has buffers of that size (OpenAFS).
const singleMax = wire.DefaultMTU

// Data returns the largest body of a DATA packet that begins a datagram.
func (m *MTU) Data() int { return min(m.good, m.peerMax, singleMax) }

// Slots returns how many DATA packets of 1412 bytes a datagram may hold, at least 1. It is
// more than 1 only after a probe of that size has returned.
func (m *MTU) Slots() int {
	most := min(m.jumbo, m.cfg.MaxJumbo)
	if most < 2 || m.proven < wire.JumboSize(2) {
		return 1
	}
	return min(most, wire.JumboFit(min(m.good, m.proven, m.peerMax)))
}

// DontFragment reports whether a datagram of a size is to be sent unfragmented: it
// is believed to pass. Others (packets cut before the path shrank) had better arrive in
// pieces than not at all; so had those that a call timed out with.
func (m *MTU) DontFragment(size int) bool {
	return size <= m.good && (m.timeouts == 0 || size < m.vanished)
}

// Good returns the size in use.
func (m *MTU) Good() int { return m.good }

// Proven returns the largest size that was seen to arrive.
func (m *MTU) Proven() int { return m.proven }

// jumboTrials are tried first, in this order (Linux).
var jumboTrials = [...]int{2, 4, 3, 6, 5, 8, 7}

// pick returns the next size to try, 0 if there is none.
func (m *MTU) pick() int {
	limit := m.limit()
	if m.proven < m.good && m.good <= limit {
		return m.good // whatever is believed is to be proven once
	}
	top := min(m.bad-1, limit)
	if top <= m.good {
		return 0
	}
	if m.good < DefaultData && top >= DefaultData {
		return DefaultData
	}
	for _, n := range jumboTrials {
		if size := wire.JumboSize(n); size > m.good && size <= top {
			return size
		}
	}
	low, high := wire.JumboFit(m.good), wire.JumboFit(top)
	switch {
	case high > low: // whole packets only
		return wire.JumboSize((low + high + 1) / 2)
	case low > 1:
		return 0 // part of a packet more gains nothing
	}
	top = min(top, singleMax)
	switch {
	case m.bad > min(limit, singleMax) && top > m.good: // nothing is known to fail
		return top
	case top-m.good >= mtuEnough:
		return m.good + (top-m.good+1)/2
	}
	return 0
}

// Probe returns the size of the PING that should be sent now, as the length of its body with
// padding, and whether one should. The caller sends it unfragmented, and tells ProbeSent.
func (m *MTU) Probe(now Time) (size int, ok bool) {
	if m.done && now >= m.raise {
		m.done, m.bad, m.failed = false, m.ceiling+1, 0
	}
	if m.cfg.Off || m.done || m.trial != 0 || now < m.next {
		return 0, false
	}
	size = m.pick()
	if size == 0 {
		m.done, m.raise = true, now+m.cfg.Raise
		return 0, false
	}
	return size, true
}

// ProbeSent says that a probe is under way.
func (m *MTU) ProbeSent(now Time, serial wire.Serial, size int) {
	m.trial, m.serial, m.sent = size, serial, now
}

// Deadline returns when OnTimer is to be called, if ever. (A later search does
// not need one: it waits for the next packet.)
func (m *MTU) Deadline(rto Time) (Time, bool) {
	if m.trial == 0 {
		return 0, false
	}
	return m.sent + rto, true
}

// OnTimer gives up a probe that has not returned within a time-out.
func (m *MTU) OnTimer(now, rto Time) {
	if m.trial != 0 && now >= m.sent+rto {
		m.probeLost(now)
	}
}

// OnAck looks for the answer of a probe. answers is the serial that an ACK of the
// connection on which the probe was sent names. An ACK of a later packet says
// that the probe is lost. It reports whether a size was proven.
func (m *MTU) OnAck(now Time, answers wire.Serial) bool {
	if m.trial == 0 || answers == 0 || answers.Before(m.serial) {
		return false
	}
	if answers != m.serial {
		m.probeLost(now)
		return false
	}
	m.good = max(m.good, m.trial)
	m.proven = max(m.proven, m.trial)
	if m.bad <= m.good {
		m.bad = m.ceiling + 1 // the path has grown
	}
	m.trial, m.failed, m.next = 0, 0, now
	return true
}

// Refused says that the socket or an interface on the way refused a datagram of a
// size, at once and for sure (EMSGSIZE).
func (m *MTU) Refused(now Time, size int) {
	m.shrink(now, size-1)
}

// TooBig says what an ICMP message tells: the MTU of a link on the way, in bytes with IP
// header, and 0 if it does not say. Only messages that quote a live connection may come
// here, and nothing below what IP asks of every link is believed of them.
func (m *MTU) TooBig(now Time, mtu int) {
	size := mtu - m.cfg.Overhead - wire.HeaderSize
	if mtu == 0 {
		if size = m.good / 2; m.good <= DefaultData+100 {
			size = m.good - 100
		}
	}
	floor := BaseData
	if m.cfg.Overhead < 40 {
		floor = MinData // IPv4 has links below 1280
	}
	m.shrink(now, max(size, floor))
}

// shrink believes that nothing above size passes.
func (m *MTU) shrink(now Time, size int) {
	size = max(size, MinData)
	if size >= m.bad-1 {
		return
	}
	m.bad = size + 1
	m.good, m.proven, m.start = min(m.good, size), min(m.proven, size), min(m.start, size)
	m.trial, m.failed, m.timeouts, m.losses = 0, 0, 0, 0
	m.done, m.next = false, now
}

// TakeLost returns how many probes have been found lost since it was last called.
func (m *MTU) TakeLost() uint64 {
	n := m.lost
	m.lost = 0
	return n
}

// probeLost counts a probe that did not return.
func (m *MTU) probeLost(now Time) {
	size := m.trial
	m.trial = 0
	m.lost++
	if m.failed++; m.failed < mtuProbes {
		m.next = now + mtuSpread/10
		return
	}
	m.failed, m.next = 0, now+mtuSpread
	if size > m.good {
		m.bad = min(m.bad, size)
		return
	}
	m.fallBack(now, size, size) // what was only believed does not pass
}

// Progress counts what a Sender's OnAck or OnTimer has found: whether packets of the size in use
// arrive. timeout: the Sender asked for ActTimeout.
func (m *MTU) Progress(now Time, p Progress, timeout bool) {
	if p.Arrived > 0 && p.Largest >= m.vanished {
		m.losses, m.timeouts, m.vanished = 0, 0, 0
	}
	if p.Arrived > 0 && p.Largest <= m.good {
		m.proven = max(m.proven, p.Largest)
	}
	size := p.LargestLost
	if p.Lost == 0 || p.Largest >= size || size <= MinData || size > m.good {
		return // what is larger goes in pieces already
	}
	m.vanished = size
	most := mtuBlackHole
	if timeout {
		m.timeouts++
	} else {
		m.losses += p.Lost
	}
	patience := mtuTimeouts
	if size <= BaseData {
		// Most likely nobody is there; but perhaps the path is that narrow.
		patience, most = 2*mtuTimeouts, 2*mtuBlackHole
	}
	if m.timeouts >= patience || m.losses >= most {
		m.fallBack(now, size, m.ceiling+1) // sizes in between are tried again soon
	}
}

// fallBack goes down a step from a size that does not pass. bad does not either.
func (m *MTU) fallBack(now Time, from, bad int) {
	size := MinData
	for _, s := range [...]int{DefaultData, BaseData} {
		if s < from {
			size = s
			break
		}
	}
	size = min(size, m.good)
	m.restart(size)
	m.bad = max(bad, size+1)
	m.proven = min(m.proven, size)
	m.next = now + mtuSpread
}
