package proto

import (
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Hooks are told what happens, by the owner of the endpoint, in the middle of things:
// they must not call the endpoint, and what they are given is valid during the call only. Each may be nil.
type Hooks struct {
	// Packet sees every datagram that comes in or goes out.
	Packet func(now Time, out bool, peer netip.AddrPort, datagram []byte)
	// Dropped sees a datagram that was not used, and why: one of few constants.
	Dropped func(now Time, peer netip.AddrPort, h wire.Header, why string)
	// ConnOpened and ConnClosed see connections of both roles.
	ConnOpened func(now Time, client bool, id ConnID)
	ConnClosed func(now Time, client bool, id ConnID, why string)
	// CallEnded sees every call's end.
	CallEnded func(now Time, c *Call, r Result)
	// RTT sees the smoothed round trip after each sample, and the time-out that follows from it.
	RTT func(now Time, peer netip.AddrPort, srtt, rto time.Duration)
	// Lost sees packets declared lost, and whether a time-out said so.
	Lost func(now Time, c *Call, seq wire.Seq, timeout bool)
	// MTU sees that what a packet may have on the path to a peer has changed, in bytes after the header.
	MTU func(now Time, peer netip.AddrPort, body int)
	// Secured sees a service connection authenticated, or err why not.
	Secured func(now Time, id ConnID, info SecurityInfo, err error)
}

func (e *Endpoint) drop(now Time, from netip.AddrPort, h *wire.Header, why string) {
	e.stats.Dropped++
	if e.hooks.Dropped != nil {
		e.hooks.Dropped(now, from, *h, why)
	}
}
