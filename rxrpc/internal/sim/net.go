package sim

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// A packet is a datagram on its way.
type packet struct {
	b        []byte
	from, to netip.AddrPort
	sender   int // host, -1 a stranger
}

// A network carries datagrams between the hosts of a run.
type network struct {
	*run
	pipes  [][]*pipe // from, to
	addrs  map[netip.AddrPort]*host
	chance *rng
	free   []*packet
	heard  []packet // of which some are sent again by strangers

	aged map[agingKey]uint32 // what old hosts have hard-acked

	strangers map[netip.AddrPort]*account
}

// An account is what a stranger has sent and got.
type account struct{ sent, got, packets int }

func newNetwork(r *run) *network {
	n := &network{run: r, addrs: map[netip.AddrPort]*host{}, chance: newRNG(r.sc.Seed, 2), strangers: map[netip.AddrPort]*account{}, aged: map[agingKey]uint32{}}
	for range r.sc.Hosts {
		var row []*pipe
		for range r.sc.Hosts {
			row = append(row, &pipe{Link: r.sc.Link})
		}
		n.pipes = append(n.pipes, row)
	}
	return n
}

// address returns what others see of a host whose NAT has changed its binding so often.
func (n *network) address(host, binding int) netip.AddrPort {
	port := uint16(7000 + host + 100*binding)
	if n.sc.IPv6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: byte(1 + host)}), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + host)}), port)
}

func (n *network) stranger() netip.AddrPort {
	if n.sc.IPv6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(n.chance.IntN(3))}), 4000)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n.chance.IntN(3))}), 4000)
}

func (n *network) newPacket(b []byte) *packet {
	var p *packet
	if k := len(n.free); k > 0 {
		p, n.free = n.free[k-1], n.free[:k-1]
	} else {
		p = new(packet)
	}
	p.b = append(p.b[:0], b...)
	return p
}

// send carries a datagram of a host.
func (n *network) send(h *host, to netip.AddrPort, df bool, b []byte) {
	from := h.outside()
	dst := n.addrs[to]
	target := -1
	if dst != nil {
		target = dst.id
	}
	n.check.Sent(h.id, target, n.broken(b))
	if !to.IsValid() || to.Port() == 0 || to.Addr().IsMulticast() || to.Addr().IsUnspecified() {
		n.fail("address", "a datagram to %v", to)
		return
	}
	n.report.Datagrams++
	n.report.Digest = mix(n.report.Digest + uint64(crc32.ChecksumIEEE(b)) + uint64(n.clock.now))
	if a := n.strangers[to]; a != nil {
		a.got += len(b)
		if n.opt.Break == BreakEcho {
			a.got += 20 * len(b)
		}
		n.check.stranger(b)
	}
	if dst == nil {
		n.trace.packet(n.clock.now, "send", from, to, b, "  to nobody")
		return
	}
	p := n.pipes[h.id][dst.id]
	if note := n.obstacle(p, h, dst, to, df, b); note != "" {
		n.trace.packet(n.clock.now, "lost", from, to, b, note)
		return
	}
	d, ok := p.travel(n.clock.now, len(b), n.chance)
	if !ok {
		n.trace.packet(n.clock.now, "lost", from, to, b, "  queue full")
		return
	}
	n.trace.packet(n.clock.now, "send", from, to, b, "")
	n.carry(h.id, from, to, b, d)
	if p.Dup > 0 && n.chance.chance(p.Dup) {
		n.carry(h.id, from, to, b, d+dur(n.chance.duration(0, p.Latency+time.Millisecond)))
	}
	if n.sc.Rubbish > 0 && len(b) < 2000 && n.chance.chance(.1) {
		n.overhear(packet{append([]byte(nil), b...), from, to, h.id})
	}
}

func (n *network) overhear(p packet) {
	if len(n.heard) < 32 {
		n.heard = append(n.heard, p)
	} else {
		n.heard[n.chance.IntN(len(n.heard))] = p
	}
}

// obstacle returns why a datagram does not arrive, if it does not.
func (n *network) obstacle(p *pipe, h, dst *host, to netip.AddrPort, df bool, b []byte) string {
	size := len(b) + 28
	if n.sc.IPv6 {
		size += 20
	}
	mtu := p.mtuAt(n.elapsed())
	if iface := n.sc.Hosts[h.id].Interface; iface > 0 {
		if size > iface && df {
			n.refuse(h, to, b, iface, true, 0)
			return "  longer than the interface's MTU"
		}
	}
	pieces := 1
	if size > mtu {
		if df {
			if p.ICMP {
				n.refuse(h, to, b, mtu, false, dur(p.Latency))
			}
			return "  too long"
		}
		if p.NoFrags {
			return "  a fragment"
		}
		pieces = (size + mtu - 1) / mtu
	}
	for range pieces {
		if p.lost(n.clock.now, n.chance) {
			return "  loss"
		}
	}
	if n.opt.Break == BreakStall && b[20] == 1 && n.elapsed() > 500*time.Millisecond {
		return "  on purpose"
	}
	if n.clock.now < h.cut || n.clock.now < dst.cut {
		return "  partition"
	}
	if p.Corrupt > 0 && !n.sc.NoChecksum && n.chance.chance(p.Corrupt) {
		return "  corrupt"
	}
	return ""
}

// refuse tells a host that a datagram is too long.
func (n *network) refuse(h *host, to netip.AddrPort, b []byte, mtu int, local bool, after proto.Time) {
	ne := proto.NetError{To: to, Errno: syscall.EMSGSIZE, Local: local, MTU: mtu, Quoted: append([]byte(nil), b[:min(len(b), 64)]...)}
	n.tell(h, ne, after)
}

func (n *network) tell(h *host, ne proto.NetError, after proto.Time) {
	life := h.life
	n.clock.after(after, func() {
		if h.ep != nil && h.life == life {
			n.trace.line(n.clock.now, "icmp host %d: %v of %v, mtu %d", h.id, ne.Errno, ne.To, ne.MTU)
			h.ep.NetError(n.clock.now, ne)
			h.pump()
		}
	})
}

// carry brings a datagram to where its destination is when it arrives.
func (n *network) carry(sender int, from, to netip.AddrPort, b []byte, d proto.Time) {
	pkt := n.newPacket(b)
	pkt.from, pkt.to, pkt.sender = from, to, sender
	if sender >= 0 {
		n.age(pkt, d)
	}
	if n.sc.NoChecksum && n.sc.Link.Corrupt > 0 && n.chance.chance(n.sc.Link.Corrupt) {
		n.damage(pkt)
	}
	if n.opt.Break == BreakData && len(b) > 60 && b[20] == 1 && n.chance.chance(.05) {
		pkt.b[len(pkt.b)-1] ^= 0x10
	}
	n.clock.add(event{at: n.clock.now + d, kind: evArrive, pkt: pkt})
}

// hardAckDelay is how much later than its soft ACKs the hard ones of an old implementation come
// (OpenAFS: rx_hardAckDelay).
const hardAckDelay = proto.Time(100 * time.Millisecond)

// An agingKey is a call's direction of which some ACKs are.
type agingKey struct {
	connKey
	channel, dir int
	call         uint32
}

// age makes an ACK of an old host look like that: what it hard-acks is soft-acked at first.
func (n *network) age(p *packet, d proto.Time) {
	o := n.sc.Hosts[p.sender].Old
	if o == (Old{}) || len(p.b) < headerSize+ackSize || p.b[20] != 2 {
		return
	}
	h := parseHead(p.b)
	key := agingKey{h.connKey, h.channel, h.dir, h.call}
	first := binary.BigEndian.Uint32(p.b[headerSize+4:])
	base := max(n.aged[key], 1)
	if o.Soft > 0 && first > base {
		late := n.newPacket(o.ack(p.b, first))
		late.from, late.to, late.sender = p.from, p.to, p.sender
		n.clock.after(hardAckDelay, func() {
			n.aged[key] = max(n.aged[key], first)
			n.clock.add(event{at: n.clock.now + d, kind: evArrive, pkt: late})
		})
		base = max(base, first-min(uint32(o.Soft), first-1))
	} else {
		base = first
	}
	p.b = o.ack(p.b, base)
}

// ack makes an ACK look as old implementations write it, with no hard ack from base on.
func (o Old) ack(b []byte, base uint32) []byte {
	be := binary.BigEndian
	body := b[headerSize:]
	n := int(body[17])
	tail := headerSize + ackSize + n + 3
	if len(b) != tail+16 { // a padded PING stays as it is
		return b
	}
	first := be.Uint32(body[4:])
	if k := min(int(first-base), 255-n); k > 0 {
		out := append([]byte(nil), b[:headerSize+ackSize]...)
		for range k {
			out = append(out, 1)
		}
		out = append(out, b[headerSize+ackSize:]...)
		be.PutUint32(out[headerSize+4:], first-uint32(k))
		out[headerSize+17] = byte(n + k)
		tail += k
		window := out[tail+8 : tail+12]
		be.PutUint32(window, min(be.Uint32(window)+uint32(k), 255))
		b = out
	}
	if o.Words > 0 {
		b = b[:tail+[...]int{0, 0, 8, 12}[o.Words]]
	}
	return b
}

// damage changes some bytes, or the length.
func (n *network) damage(p *packet) {
	switch r := n.chance; {
	case len(p.b) == 0:
	case r.chance(.25):
		p.b = p.b[:r.IntN(len(p.b)+1)]
	case r.chance(.3):
		for range r.between(1, 40) {
			p.b = append(p.b, byte(r.Uint32()))
		}
	default:
		for range r.between(1, 4) {
			p.b[r.IntN(len(p.b))] ^= 1 << r.IntN(8)
		}
	}
	p.sender = -1
}

// arrive hands a datagram over.
func (n *network) arrive(p *packet) {
	dst := n.addrs[p.to]
	switch {
	case dst == nil:
		n.trace.packet(n.clock.now, "gone", p.from, p.to, p.b, "  no binding")
	case dst.ep == nil:
		if src := n.addrs[p.from]; src != nil && src.ep != nil && n.sc.Link.ICMP {
			n.tell(src, proto.NetError{To: p.to, Errno: syscall.ECONNREFUSED, Quoted: append([]byte(nil), p.b[:min(len(p.b), 64)]...)}, dur(n.sc.Link.Latency))
		}
		n.trace.packet(n.clock.now, "gone", p.from, p.to, p.b, "  host is down")
	default:
		n.trace.packet(n.clock.now, "recv", p.from, p.to, p.b, "")
		n.check.Delivered(dst.id, p.sender, p.b)
		dst.receive(p)
	}
	n.free = append(n.free, p)
}

// rubbish sends something that is nobody's business, and goes on as long as there are calls.
func (n *network) rubbish() {
	if n.quiet {
		return
	}
	r := n.chance
	for range r.between(1, 4) {
		n.rubbishOne()
	}
	n.clock.after(proto.Time(r.ExpFloat64()*2.5e9/n.sc.Rubbish), n.rubbish)
}

func (n *network) rubbishOne() {
	r := n.chance
	dst := n.hosts[r.IntN(len(n.hosts))]
	from := n.stranger()
	if len(n.heard) > 0 && r.chance(.6) {
		p := n.heard[r.IntN(len(n.heard))]
		if r.chance(.3) {
			// Once more what was sent already, to whom it was sent, unless that one
			// has restarted: without security it cannot know better.
			if n.addrs[p.to] != nil && !n.sc.disturbed() {
				n.carry(p.sender, p.from, p.to, p.b, 0)
			}
			return
		}
		b := append([]byte(nil), p.b...)
		if r.chance(.5) {
			b[r.IntN(4)] ^= byte(1 + r.IntN(255)) // epoch
		} else {
			b[4+r.IntN(3)] ^= byte(1 + r.IntN(255)) // cid
		}
		n.strange(from, p.to, b)
		return
	}
	b := make([]byte, r.between(0, 120))
	r.Read(b)
	if len(b) >= 28 && r.chance(.9) {
		b[20] = []byte{1, 1, 2, 3, 4, 5, 6, 7, 8, 13, 9, 14}[r.IntN(12)]
		b[22], b[23] = 0, []byte{0, 0, byte(sealedIndex), 2}[r.IntN(4)]
		b[21] &= 0x2f
		b[26], b[27] = 0, []byte{plainService, sealedService, 7, 0}[r.IntN(4)]
		if r.chance(.5) {
			b[12], b[13], b[14], b[15] = 0, 0, 0, 1
		}
		if b[20] == 13 && len(b) > 28 {
			b[28] = 0
		}
	}
	n.strange(from, dst.outside(), b)
}

// strange sends a datagram from an address where nobody listens.
func (n *network) strange(from, to netip.AddrPort, b []byte) {
	a := n.strangers[from]
	if a == nil {
		a = new(account)
		n.strangers[from] = a
	}
	a.sent += len(b) + 28
	a.packets++
	n.carry(-1, from, to, b, 0)
}
