package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// Link is what the way from any host to another does to datagrams. The zero value
// carries all at once.
type Link struct {
	Latency time.Duration // one way
	Jitter  time.Duration // at most, of each datagram: they overtake each other
	Loss    float64
	Burst   int     // how many are lost in a row, 0: one
	Reorder float64 // share that is late by Latency
	Dup     float64
	Corrupt float64 // share in which bytes change; see Scenario.NoChecksum
	Rate    int     // bytes per second, 0 no limit
	Queue   int     // bytes that wait for Rate
	MTU     int     // of IP packets, 0: 65535
	ICMP    bool    // what is too big for MTU is reported
	NoFrags bool    // fragments do not pass
	Narrow  int     // MTU from NarrowAt on, 0: the same
	At      time.Duration
}

// String lists what is not zero.
func (l Link) String() string {
	var b strings.Builder
	add := func(on bool, f string, a ...any) {
		if on {
			fmt.Fprintf(&b, " "+f, a...)
		}
	}
	add(true, "latency %v", l.Latency)
	add(l.Jitter > 0, "jitter %v", l.Jitter)
	add(l.Loss > 0, "loss %.1f%% by %d", 100*l.Loss, max(l.Burst, 1))
	add(l.Reorder > 0, "reorder %.1f%%", 100*l.Reorder)
	add(l.Dup > 0, "dup %.1f%%", 100*l.Dup)
	add(l.Corrupt > 0, "corrupt %.1f%%", 100*l.Corrupt)
	add(l.Rate > 0, "rate %d B/s queue %d B", l.Rate, l.Queue)
	add(l.MTU > 0, "mtu %d icmp %v", l.MTU, l.ICMP)
	add(l.Narrow > 0, "then mtu %d at %v icmp %v", l.Narrow, l.At, l.ICMP)
	add(l.NoFrags, "no fragments")
	return b.String()[1:]
}

// A pipe is a Link in use, from one host to another.
type pipe struct {
	Link
	burst int        // to be lost still,
	until proto.Time // and until when
	busy  proto.Time // until when Rate is used up
}

func dur(d time.Duration) proto.Time { return proto.Time(d) }

// lost decides whether a datagram is lost.
func (p *pipe) lost(now proto.Time, r *rng) bool {
	if p.burst > 0 && now <= p.until {
		p.burst--
		return true
	}
	if p.Loss > 0 && r.chance(p.Loss) {
		p.burst, p.until = max(p.Burst-1, 0), now+burstTime
		return true
	}
	return false
}

// burstTime is how long a burst of losses lasts at most.
const burstTime = proto.Time(100 * time.Millisecond)

// travel returns how long a datagram of n bytes takes, or false if the queue is full.
func (p *pipe) travel(now proto.Time, n int, r *rng) (proto.Time, bool) {
	d := dur(p.Latency)
	if p.Rate > 0 {
		p.busy = max(p.busy, now)
		if waiting := int64(p.busy-now) * int64(p.Rate) / 1e9; waiting > int64(p.Queue) {
			return 0, false
		}
		p.busy += proto.Time(int64(n) * 1e9 / int64(p.Rate))
		d += p.busy - now
	}
	if p.Jitter > 0 {
		d += proto.Time(r.int64n(int64(p.Jitter)))
	}
	if p.Reorder > 0 && r.chance(p.Reorder) {
		d += dur(p.Latency)
	}
	return d, true
}

// mtuAt returns the MTU so long after the beginning.
func (p *pipe) mtuAt(since time.Duration) int {
	if p.Narrow > 0 && since >= p.At {
		return p.Narrow
	}
	if p.MTU > 0 {
		return p.MTU
	}
	return 65535
}
