package sim

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A Checker looks at every datagram that leaves an endpoint, and at every one that reaches
// one, and holds what leaves against the rules: sections 1.2, 2 and 3 of the reference. It
// shares no code with the endpoints.
type Checker struct {
	// Stateless: only what a datagram says of itself is checked, not how it goes
	// with others (when datagrams change on the way).
	Stateless bool
	// Refusals: servers may send calls away, which leaves the one before as it is.
	Refusals bool
	// Forgetful: servers may forget connections that clients still use.
	Forgetful bool
	// Violation is called for each, with the datagram.
	Violation func(rule, what string, datagram []byte)

	now    []byte // what is being looked at
	conns  map[connKey]*connState
	probes map[probeKey]int // body sizes of PINGs under way
	proven map[[2]int]int   // largest that came back, by sender and destination
	lives  []int            // of each host: how often it has started
}

type connKey struct {
	epoch, cid uint32
}

type probeKey struct {
	connKey
	serial     uint32
	fromClient bool
}

type connState struct {
	host     [2]int // of the client and of the server, -1 unknown
	life     [2]int
	serial   [2]uint32
	service  [2]uint16
	services int // how often the server has changed it
	security uint8
	asked    bool // for an upgrade
	moved    bool // the server may have it twice

	restarted bool // the server has forgotten what service it was
	channels  [4]channelState
}

type channelState struct {
	call  uint32
	heard uint32  // highest call of which the first DATA has reached the server
	flow  [2]flow // client to server, and back
}

// A flow is the DATA of one direction of a call.
type flow struct {
	sums   []uint32 // of the bodies sent, seq from 1
	last   uint32   // seq of the last packet, 0 unknown
	got    []bool   // what has reached the receiver
	all    uint32   // up to where all of it has
	limit  uint32   // first seq beyond the window that the sender knows of
	window uint32   // that the receiver has advertised last
	gotEnd bool
}

func newChecker(hosts int, violation func(rule, what string, datagram []byte)) *Checker {
	return &Checker{
		Violation: violation, conns: map[connKey]*connState{}, probes: map[probeKey]int{}, proven: map[[2]int]int{}, lives: make([]int, hosts),
	}
}

func (c *Checker) fail(rule, format string, args ...any) {
	c.Violation(rule, fmt.Sprintf(format, args...), c.now)
}

// Restarted says that a host has lost its memory.
func (c *Checker) Restarted(host int) { c.lives[host]++ }

// Moved says that others see a host at another address from now on: servers may
// take its connections for new ones.
func (c *Checker) Moved(host int) {
	for _, s := range c.conns {
		if s.host[0] == host {
			s.host[1], s.serial[1] = -1, 0
			s.moved = true
		}
	}
}

// Sizes and flags, by the reference.
const (
	headerSize = 28
	slotSize   = 1412
	ackSize    = 18

	flagClient  = 0x01
	flagRequest = 0x02
	flagLast    = 0x04
	flagMore    = 0x08
	flagJumbo   = 0x20

	firstLimit = 16 // packets before the receiver has said its window
	dumbWindow = 15 // of a peer that never says
)

// A head is the fixed part of a packet.
type head struct {
	connKey
	call, seq, serial uint32
	typ, flags        uint8
	status, security  uint8
	cksum, service    uint16
	channel           int
	dir               int // 0 from the client
}

func parseHead(b []byte) head {
	be := binary.BigEndian
	cid := be.Uint32(b[4:])
	h := head{
		connKey: connKey{be.Uint32(b), cid &^ 3}, channel: int(cid & 3), call: be.Uint32(b[8:]), seq: be.Uint32(b[12:]), serial: be.Uint32(b[16:]),
		typ: b[20], flags: b[21], status: b[22], security: b[23], cksum: be.Uint16(b[24:]), service: be.Uint16(b[26:]), dir: 1,
	}
	if h.flags&flagClient != 0 {
		h.dir = 0
	}
	return h
}

// Sent checks a datagram that leaves host for host to, -1 if that is a stranger.
func (c *Checker) Sent(host, to int, b []byte) {
	c.now = b
	if len(b) < headerSize {
		c.fail("short", "a datagram of %d bytes", len(b))
		return
	}
	if len(b) > 65507 {
		c.fail("long", "a datagram of %d bytes", len(b))
	}
	h := parseHead(b)
	body := b[headerSize:]
	if h.status != 0 && (h.status != 1 || h.typ != 1 || h.seq != 1 || h.dir != 0) {
		c.fail("status", "userStatus %d where none belongs", h.status)
	}
	if h.typ != 1 && h.seq != 0 {
		c.fail("seq", "seq %d on a packet that is not DATA", h.seq)
	}
	if h.typ != 1 && h.cksum != 0 {
		c.fail("cksum", "a checksum on a packet that is not DATA")
	}
	switch h.typ {
	case 1:
		c.sentData(host, to, &h, body)
	case 2:
		c.sentAck(host, &h, body)
	case 3:
		c.onlyFlags(&h, flagClient)
		if h.dir != 1 || len(body) != 0 || h.call == 0 {
			c.fail("busy", "BUSY of a client, with a body, or of no call")
		}
	case 4:
		c.onlyFlags(&h, flagClient)
		if len(body) != 4 {
			c.fail("abort", "an ABORT with %d bytes", len(body))
		}
	case 5:
		c.onlyFlags(&h, flagClient)
		if len(body) != 0 || h.call == 0 {
			c.fail("ackall", "ACKALL with a body, or of no call")
		}
	case 6, 7:
		c.onlyFlags(&h, flagClient)
		if h.call != 0 || (h.typ == 6) != (h.dir == 1) {
			c.fail("challenge", "CHALLENGE or RESPONSE of a call, or of the wrong side")
		}
	case 8:
		if len(body) > 284+4 {
			c.fail("debug", "DEBUG with %d bytes", len(body))
		}
	case 13:
		c.onlyFlags(&h, flagClient|flagLast)
		if h.dir == 1 && len(body) > 65 || len(body) == 0 {
			c.fail("version", "VERSION with %d bytes", len(body))
		}
	default:
		c.fail("type", "packet type %d", h.typ)
		return
	}
	if h.typ == 8 || h.typ == 13 {
		return
	}
	if h.service == 0 && h.typ != 4 {
		c.fail("service", "service 0")
	}
	if h.epoch == 0 {
		c.fail("epoch", "epoch 0")
	}
	if !c.Stateless {
		c.sentOnConn(host, &h, body)
	}
}

func (c *Checker) onlyFlags(h *head, allowed uint8) {
	if h.flags&^allowed != 0 {
		c.fail("flags", "flags %#x on type %d", h.flags, h.typ)
	}
}

// sentOnConn checks what holds for all packets of a connection.
func (c *Checker) sentOnConn(host int, h *head, body []byte) {
	if h.serial == 0 {
		// Of no connection: an answer that nobody keeps track of.
		if h.typ != 3 && h.typ != 4 {
			c.fail("serial 0", "serial 0 on type %d", h.typ)
		}
		return
	}
	s := c.conn(h.connKey)
	if h.dir == 1 && s.host[0] == -1 {
		return // of strangers, and there may be several with this id
	}
	switch {
	case s.host[h.dir] == -1 || s.host[h.dir] == host && s.life[h.dir] != c.lives[host]:
		if s.host[h.dir] == host && h.dir == 0 {
			c.fail("epoch reuse", "connection %08x/%08x outlives its client", h.epoch, h.cid)
		}
		s.host[h.dir], s.life[h.dir], s.serial[h.dir] = host, c.lives[host], 0
	case s.host[h.dir] != host:
		c.fail("host", "host %d sends on a connection of host %d", host, s.host[h.dir])
	}
	if h.typ == 6 && h.serial == 1 {
		s.serial[1] = 0 // the server has forgotten a client that never proved itself
	}
	if h.serial <= s.serial[h.dir] && !(h.dir == 1 && (s.moved || c.Forgetful)) {
		c.fail("serial", "serial %d after %d", h.serial, s.serial[h.dir])
	}
	s.serial[h.dir] = h.serial + uint32(c.packets(h, body)) - 1
	if s.service[h.dir] == 0 {
		s.service[h.dir] = h.service
	}
	if h.service != s.service[h.dir] && h.service != 0 && !(s.asked && s.restarted) {
		// The client follows the server's change of service.
		if !s.asked || s.services > 0 || h.dir == 0 && h.service != s.service[1] {
			c.fail("service change", "service %d on a connection of %d", h.service, s.service[h.dir])
		}
		s.service[h.dir] = h.service
	}
	if h.typ == 1 {
		if s.security == 0xff {
			s.security = h.security
		}
		s.asked = s.asked || h.status == 1
	}
	if s.security != 0xff && h.security != s.security && h.typ != 4 {
		c.fail("security", "security index %d on a connection of %d", h.security, s.security)
	}
}

// packets returns how many packets, and so serials, a datagram has.
func (c *Checker) packets(h *head, body []byte) int {
	n := 1
	if h.typ != 1 {
		return n
	}
	for f := h.flags; f&flagJumbo != 0 && len(body) >= slotSize+4; n++ {
		f, body = body[slotSize], body[slotSize+4:]
	}
	return n
}

func (c *Checker) conn(k connKey) *connState {
	s := c.conns[k]
	if s == nil {
		s = &connState{host: [2]int{-1, -1}, security: 0xff}
		c.conns[k] = s
	}
	return s
}

// channel returns the state of the call's channel; nil if the call is an old one.
func (c *Checker) channel(h *head) *channelState {
	ch := &c.conn(h.connKey).channels[h.channel]
	if h.call < ch.call {
		return nil
	}
	if h.call > ch.call {
		*ch = channelState{call: h.call, heard: ch.heard}
		ch.flow[0].limit, ch.flow[1].limit = firstLimit+1, firstLimit+1
	}
	return ch
}

func (c *Checker) sentData(host, to int, h *head, body []byte) {
	if h.call == 0 || h.seq == 0 {
		c.fail("zero", "DATA with call %d, seq %d", h.call, h.seq)
		return
	}
	var ch *channelState
	if !c.Stateless {
		before := c.conn(h.connKey).channels[h.channel].call
		if h.dir == 0 && h.call > before+1 && before != 0 {
			c.fail("call number", "call %d after %d on the channel", h.call, before)
		}
		if ch = c.channel(h); ch == nil && (h.dir == 0 || c.heardLater(h)) {
			c.fail("old call", "DATA of call %d after one of a later call", h.call)
		}
	}
	flags, cksum := h.flags, h.cksum
	for i, rest := 0, body; ; i++ {
		if flags&^(flagClient|flagRequest|flagLast|flagMore|flagJumbo) != 0 {
			c.fail("flags", "flags %#x on DATA", flags)
		}
		data := rest
		if flags&flagJumbo != 0 {
			if flags&flagLast != 0 || len(rest) < slotSize+4 {
				c.fail("jumbo", "a jumbo that ends too early, or goes on after the last packet")
				return
			}
			data = rest[:slotSize]
		}
		c.sentPacket(h, ch, h.seq+uint32(i), flags, cksum, data)
		if flags&flagJumbo == 0 {
			if i > 0 && len(data) > slotSize {
				c.fail("jumbo", "a last packet of %d bytes", len(data))
			}
			if i > 0 && !c.Stateless && to >= 0 && len(body) > c.proven[[2]int{host, to}] {
				c.fail("unproven jumbo", "a jumbo of %d bytes, and a PING of at most %d has returned", len(body), c.proven[[2]int{host, to}])
			}
			return
		}
		j := rest[slotSize : slotSize+4]
		if j[1] != 0 {
			c.fail("jumbo pad", "a byte of %#x in a jumbo header", j[1])
		}
		flags, cksum, rest = j[0], binary.BigEndian.Uint16(j[2:]), rest[slotSize+4:]
	}
}

// heardLater says whether a later call than that of h has reached the server, unless it has the
// connection twice.
func (c *Checker) heardLater(h *head) bool {
	s := c.conn(h.connKey)
	return h.call < s.channels[h.channel].heard && !s.moved && !c.Refusals
}

// sentPacket checks a packet of a datagram.
func (c *Checker) sentPacket(h *head, ch *channelState, seq uint32, flags uint8, cksum uint16, data []byte) {
	if h.dir == 1 && flags&flagLast != 0 && flags&flagRequest != 0 {
		c.fail("last asks", "the last packet of a reply asks for an ACK")
	}
	if ch == nil {
		return
	}
	f := &ch.flow[h.dir]
	sum := crc32.ChecksumIEEE(data) ^ uint32(cksum)
	switch n := uint32(len(f.sums)); {
	case seq > n+1:
		c.fail("seq gap", "seq %d is sent before %d", seq, n+1)
	case seq == n+1:
		if f.last != 0 {
			c.fail("after last", "seq %d after the last, %d", seq, f.last)
		}
		if seq >= f.limit {
			c.fail("window", "seq %d where the window ends before %d", seq, f.limit)
		}
		if h.dir == 1 && !ch.flow[0].gotEnd {
			c.fail("early reply", "a reply before the request has arrived")
		}
		f.sums = append(f.sums, sum)
		if flags&flagLast != 0 {
			f.last = seq
		}
	case f.sums[seq-1] != sum:
		c.fail("changed", "seq %d is sent again with other bytes", seq)
	case (flags&flagLast != 0) != (f.last == seq):
		c.fail("changed", "seq %d is sent again with another LAST flag", seq)
	}
}

func (c *Checker) sentAck(host int, h *head, body []byte) {
	c.onlyFlags(h, flagClient|flagRequest|flagJumbo|flagLast|flagMore)
	if len(body) < ackSize {
		c.fail("ack", "an ACK with %d bytes", len(body))
		return
	}
	be := binary.BigEndian
	first, reason, n := be.Uint32(body[4:]), body[16], int(body[17])
	rest := body[ackSize:]
	if h.call == 0 || first == 0 || reason == 0 || reason > 9 || n > len(rest) || be.Uint32(body) != 0 {
		c.fail("ack", "an ACK of call %d, first %d, reason %d, %d soft acks in %d bytes", h.call, first, reason, n, len(rest))
		return
	}
	acks, rest := rest[:n], rest[n:]
	if len(rest) < 3+16 {
		c.fail("trailer", "an ACK without a whole trailer")
		return
	}
	if rest[0]|rest[1]|rest[2] != 0 {
		c.fail("ack padding", "bytes that are not zero before the trailer")
	}
	if w := be.Uint32(rest[11:]); w > 255 {
		c.fail("rwind", "a window of %d packets", w)
	}
	for _, v := range rest[19:] {
		if v != 0 {
			c.fail("ack padding", "bytes that are not zero behind the trailer")
			break
		}
	}
	if len(rest) > 19 && reason != 6 {
		c.fail("ack padding", "%d bytes behind the trailer of an ACK that is no PING", len(rest)-19)
	}
	for _, v := range acks {
		if v > 1 {
			c.fail("soft ack", "a soft ack of %#x", v)
			break
		}
	}
	if c.Stateless {
		return
	}
	if len(rest) > 19 {
		c.probes[probeKey{h.connKey, h.serial, h.dir == 0}] = len(body)
	}
	if c.conn(h.connKey).host[1-h.dir] == -1 {
		return // to a stranger, of whom nothing is recorded
	}
	ch := c.channel(h)
	if ch == nil {
		return // a final ACK again
	}
	f := &ch.flow[1-h.dir]
	if first-1 > f.all {
		c.fail("ack of nothing", "hard ack %d, but %d have arrived", first-1, f.all)
	}
	for i, v := range acks {
		if q := int(first) + i - 1; v == 1 && (q >= len(f.got) || !f.got[q]) {
			c.fail("ack of nothing", "soft ack of %d, which has not arrived", q+1)
		}
	}
}

// Delivered takes in a datagram that reaches host from host from, -1 if that is a stranger.
func (c *Checker) Delivered(host, from int, b []byte) {
	if c.Stateless || from < 0 || len(b) < headerSize {
		return
	}
	h := parseHead(b)
	s := c.conns[h.connKey]
	if s == nil || s.host[h.dir] != from {
		return
	}
	if other := 1 - h.dir; s.host[other] == host && s.life[other] != c.lives[host] {
		if other == 0 {
			return // a client does not take its connections up again
		}
		// It does not remember what it had.
		for i := range s.channels {
			f := &s.channels[i].flow[h.dir]
			f.got, f.all, f.gotEnd = nil, 0, false
			f = &s.channels[i].flow[other] // and what it sends is made anew
			f.sums, f.last, f.limit = nil, 0, firstLimit+1
		}
		s.life[other], s.serial[other], s.restarted = c.lives[host], 0, true
	}
	ch := &s.channels[h.channel]
	if h.typ == 1 && h.dir == 0 && h.seq == 1 { // others may lie beyond a small window
		ch.heard = max(ch.heard, h.call)
	}
	body := b[headerSize:]
	if h.typ == 2 && len(body) >= ackSize {
		key := probeKey{h.connKey, binary.BigEndian.Uint32(body[12:]), h.dir == 1}
		if size := c.probes[key]; size > 0 {
			delete(c.probes, key)
			pair := [2]int{host, from}
			c.proven[pair] = max(c.proven[pair], size)
		}
	}
	if ch.call != h.call {
		return
	}
	switch h.typ {
	case 1:
		f := &ch.flow[h.dir]
		for i := range c.packets(&h, body) {
			f.arrived(h.seq + uint32(i))
		}
		if h.dir == 1 { // a reply acknowledges the request
			r := &ch.flow[0]
			r.limit = max(r.limit, uint32(len(r.sums))+1)
		}
	case 2:
		c.deliveredAck(&h, ch, body)
	}
}

func (f *flow) arrived(seq uint32) {
	for uint32(len(f.got)) < seq {
		f.got = append(f.got, false)
	}
	f.got[seq-1] = true
	for f.all < uint32(len(f.got)) && f.got[f.all] {
		f.all++
	}
	f.gotEnd = f.last != 0 && f.all == f.last
}

func (c *Checker) deliveredAck(h *head, ch *channelState, body []byte) {
	if len(body) < ackSize {
		return
	}
	be := binary.BigEndian
	n := int(body[17])
	f := &ch.flow[1-h.dir]
	if t := body[min(ackSize+n, len(body)):]; len(t) >= 3+12 {
		f.window = min(be.Uint32(t[11:]), 255)
	} else if f.window == 0 {
		f.window = dumbWindow
	}
	f.limit = max(f.limit, be.Uint32(body[4:])+max(f.window, 1))
}

// Amplified checks what a stranger who never answered has got, given what it sent.
func (c *Checker) Amplified(who string, sent, got, packets int) {
	c.now = nil
	if got > 4*sent+400 {
		c.fail("amplification", "%s sent %d bytes in %d packets and got %d", who, sent, packets, got)
	}
}

// stranger checks how long an answer to a stranger is.
func (c *Checker) stranger(b []byte) {
	c.now = b
	most := 0
	switch b[20] {
	case 1:
		return // what the application says
	case 2:
		most = headerSize + ackSize + 255 + 3 + 16
	case 3:
		most = headerSize
	case 4:
		most = headerSize + 4
	case 6:
		most = headerSize + 16
	case 8:
		most = headerSize + 288
	case 13:
		most = headerSize + 65
	}
	if len(b) > most {
		c.fail("amplification", "%s to who has not shown that it receives", describe(b))
	}
}
