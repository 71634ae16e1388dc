package proto

import (
	"encoding/binary"
	"net/netip"
)

// A limiter bounds how many packets are sent to addresses because of packets that
// anybody can forge: to each and to all. It is a table of fixed size: addresses that fall
// into the same place share what is there.
type limiter struct {
	seed    uint64
	perHost bucket
	perAll  bucket
	all     bucket
	hosts   [1024]bucket
}

// A bucket holds tokens; a packet takes one.
type bucket struct {
	tokens int32 // thousandths
	rate   int32 // of a second: tokens
	at     Time
}

// most is how many thousandths a bucket holds: half a second's, at least what any packet takes.
func (b *bucket) most() int64 { return max(int64(b.rate)*500, 1000*longReply) }

func (b *bucket) fill(now Time, like *bucket) {
	most := like.most()
	if b.rate == 0 {
		*b = bucket{tokens: int32(most), rate: like.rate, at: now}
		return
	}
	passed := int64(now - b.at)
	if passed <= 0 {
		return
	}
	// A thousandth of a token takes 1e6/rate nanoseconds.
	n := most
	if passed < 1e9 {
		n = min(passed*int64(b.rate)/1e6, most)
	}
	if n > 0 {
		b.tokens = int32(min(int64(b.tokens)+n, most))
		b.at = now
	}
}

func (l *limiter) init(seed uint64, perHost, inAll int) {
	const most = 1 << 21 // so that a bucket fits
	l.seed = seed
	l.perHost.rate = int32(min(perHost, most))
	l.perAll.rate = int32(min(inAll, most))
}

// place hashes an address: all of an IPv4 address, the network half of an IPv6 one,
// of which whoever has one has 2^64.
func (l *limiter) place(addr netip.Addr) int {
	b := addr.As16()
	x := binary.LittleEndian.Uint64(b[:8])
	if addr.Is4() || addr.Is4In6() {
		x = uint64(binary.LittleEndian.Uint32(b[12:])) | 1<<40
	}
	x = (x ^ l.seed) * 0x9E3779B97F4A7C15
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return int(x >> 54)
}

// allow takes tokens for a packet to addr, if they are there.
func (l *limiter) allow(now Time, addr netip.Addr, tokens int32) bool {
	cost := 1000 * tokens
	if l.perAll.rate > 0 {
		if l.all.fill(now, &l.perAll); l.all.tokens < cost {
			return false
		}
	}
	if l.perHost.rate > 0 {
		b := &l.hosts[l.place(addr)]
		if b.fill(now, &l.perHost); b.tokens < cost {
			return false
		}
		b.tokens -= cost
	}
	if l.perAll.rate > 0 {
		l.all.tokens -= cost
	}
	return true
}

// allowAlone takes tokens of the address alone, for a packet that is of no use to who forges others.
func (l *limiter) allowAlone(now Time, addr netip.Addr, tokens int32) bool {
	if l.perHost.rate <= 0 {
		return true
	}
	b := &l.hosts[l.place(addr)]
	if b.fill(now, &l.perHost); b.tokens < 1000*tokens {
		return false
	}
	b.tokens -= 1000 * tokens
	return true
}

// giveBack returns tokens for a packet that was no answer to a forged one: addr has shown that it can be reached there.
func (l *limiter) giveBack(addr netip.Addr, tokens int32) {
	back := func(b, like *bucket) {
		if like.rate > 0 && b.rate > 0 {
			b.tokens = int32(min(int64(b.tokens)+1000*int64(tokens), like.most()))
		}
	}
	back(&l.all, &l.perAll)
	back(&l.hosts[l.place(addr)], &l.perHost)
}

// longReply is how many tokens an answer takes that is much longer than its request.
const longReply = 5

// mayReply reports whether an address may be sent another answer that anybody could
// have asked for. Nobody answers what cannot be a sender.
func (e *Endpoint) mayReply(now Time, to netip.AddrPort, tokens int32) bool {
	if !sendable(to) || !e.limiter.allow(now, to.Addr(), tokens) {
		e.stats.RepliesLimited++
		return false
	}
	return true
}

// sendable reports whether an address can be one of a peer.
func sendable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && ip.IsValid() && !ip.IsMulticast() && !ip.IsUnspecified() && ip != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
