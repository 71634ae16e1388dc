package proto

import (
	"net/netip"

	"github.com/cnbus/cnbus/rxrpc/internal/cc"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// overhead is what IP and UDP put before a packet to an address.
func overhead(addr netip.AddrPort) int {
	if addr.Addr().Is4() {
		return 20 + 8
	}
	return 40 + 8
}

func (e *Endpoint) mtuConfig(addr netip.AddrPort) cc.MTUConfig {
	m := &e.cfg.MTU
	c := cc.MTUConfig{Overhead: overhead(addr), IfMTU: m.Interface, Start: m.Start, MaxJumbo: m.JumboMax, Off: m.NoProbe, Raise: cc.Time(e.cfg.Timers.Probe)}
	if m.NoJumbo {
		c.MaxJumbo = 1
	}
	return c
}

// trailer is what ACKs to the peer advertise. As Linux does, the whole receive MTU is only told to
// those that search for the path's; to others it would mean fragments.
func (p *peer) trailer(rwind int) wire.AckTrailer {
	e := p.e
	ifMTU := uint32(max(e.cfg.MTU.Interface-overhead(p.addr)-wire.HeaderSize, minBody))
	t := wire.AckTrailer{MaxMTU: min(ifMTU, wire.DefaultMTU), IfMTU: min(ifMTU, wire.DefaultMTU), RWind: uint32(rwind), Words: wire.TrailerWords}
	if p.pmtud {
		t.MaxMTU, t.IfMTU = uint32(e.cfg.MTU.Receive), ifMTU
	}
	return t
}

// advertised takes in what the peer's ACK says of it.
func (p *peer) advertised(t wire.AckTrailer) wire.Limits {
	l := wire.ClampTrailer(t)
	if t.Words > 0 {
		p.pmtud = l.PMTUD
		p.mtu.SetPeer(int(l.MaxMTU), int(l.Jumbo))
	}
	return l
}

// body is how long the body of the next DATA packet may be. Where a jumbo slot fits it
// is exactly that, so that the packet can go into any datagram.
func (p *peer) body() int { return min(p.mtu.Data(), wire.JumboData) }

// mtuChanged tells who watches, and counts the probes that were lost.
func (p *peer) mtuChanged(now Time, before int) {
	p.e.stats.MTULost += p.mtu.TakeLost()
	if after := p.mtu.Good(); after != before && p.e.hooks.MTU != nil {
		p.e.hooks.MTU(now, p.addr, after)
	}
}

// progress lets the search know what happens to datagrams of the size in use.
func (p *peer) progress(now Time, r cc.Progress, timeout bool) {
	before := p.mtu.Good()
	p.mtu.Progress(cc.Time(now), r, timeout)
	p.mtuChanged(now, before)
}
