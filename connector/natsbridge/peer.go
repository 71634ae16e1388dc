package natsbridge

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"github.com/cnbus/cnbus/connector"
)

// Bounds on what one other host may make this one remember.
const (
	maxPeerIDs    = 1 << 18
	maxPeerGroups = 1 << 18
)

// peer is another host of the site that is known at present.
type peer struct {
	host      uint16
	run       uint64
	name      string
	link      *link
	seen      int64
	since     int64
	leased    bool // it says that its lease is in force
	hello     bool // its first record came
	reachable bool
	gone      bool
	dirty     bool
	stuffed   bool // too much waits for it; it is about to be given up

	ids      map[uint64]struct{} // of core.site
	groups   map[uint32]struct{} // with members there
	flows    map[uint32]*flow    // by local client that has sent to it
	consumed map[uint32]uint32   // bytes of its clients to be told, by site-wide port
	owed     int                 // bytes of them

	rtt  int64 // of the last Ping; 0: none yet
	in   uint64
	out  uint64
	lost uint64 // of its group messages

	bytesIn, bytesOut uint64

	pingAt int64
}

// consumedSoon is how many bytes are told at once instead of with an acknowledgement.
const consumedSoon = 64 << 10

// newPeer makes a link to a host, and tells it all that it must know.
func (c *core) newPeer(host uint16, run uint64) *peer {
	c.session++
	p := &peer{
		host: host, run: run, seen: c.now, since: c.now,
		ids: make(map[uint64]struct{}), groups: make(map[uint32]struct{}),
		flows: make(map[uint32]*flow), consumed: make(map[uint32]uint32),
	}
	to := subject{packetLink, uint32(host)}
	p.link = newLink(c.header(packetLink), c.session, &c.spare, func(b []byte) bool {
		p.bytesOut += uint64(len(b))
		return c.packet(to, b)
	})
	p.link.onBarrier = c.barrierDone
	c.peers[host] = p
	c.record(p, func(b []byte) []byte { return appendHello(b, c.name) })
	c.record(p, func(b []byte) []byte { return appendLease(b, c.lease.inForce) })
	for _, key := range sortedKeys(c.own) {
		if o := c.own[key]; o.announced {
			c.record(p, func(b []byte) []byte { return appendRegistered(b, &o.info, o.rev) })
		}
	}
	c.tellLost(p)
	for _, g := range sortedKeys(c.subs) {
		c.record(p, func(b []byte) []byte { return appendMembers(b, g, true) })
	}
	return p
}

// record appends a record for p.
func (c *core) record(p *peer, f func(b []byte) []byte) {
	b := p.link.record()
	p.link.fill = f(b)
	c.touch(p)
}

// flushPeer sends what is due to p.
func (c *core) flushPeer(p *peer) {
	l := p.link
	if p.owed > 0 && (p.owed >= consumedSoon || l.fill != nil || l.ackNow || l.ackAt != 0 && l.ackAt <= c.now) {
		for _, port := range sortedKeys(p.consumed) {
			l.fill = appendConsumed(l.record(), port, p.consumed[port])
		}
		clear(p.consumed)
		p.owed = 0
	}
	l.flush(c.now)
	if l.pending > l.most && !p.stuffed {
		p.stuffed = true
		c.soon(func() { c.peerDown(p, "it does not take what it is sent") })
	}
	if at := l.next(); at != 0 {
		c.wake(at)
	}
}

// peerTick does what is due for p; it returns when there is more, 0 for never.
func (c *core) peerTick(p *peer) int64 {
	if c.now-p.seen >= c.leaseTime() {
		c.peerDown(p, "nothing was heard of the host for a whole lease")
		return 0
	}
	c.setReachable(p)
	if p.gone {
		return 0
	}
	if p.pingAt <= c.now && p.reachable && len(c.peers) <= pingMost {
		p.pingAt = c.now + c.leaseTime()/renewals
		c.record(p, func(b []byte) []byte { return appendPing(b, recordPing, uint64(c.now)) })
	}
	if p.owed > 0 {
		p.link.ackSoon(c.now)
	}
	if at := p.link.next(); at != 0 && at <= c.now {
		c.flushPeer(p)
		p.link.tick(c.now)
	}
	next := p.seen + c.leaseTime()
	if p.reachable {
		next = p.seen + c.leaseTime()/2
	}
	if at := p.link.next(); at != 0 {
		next = min(next, at)
	}
	return next
}

// pingMost is how many hosts are asked for their distance all the time.
const pingMost = 64

// setReachable finds out whether p counts as reachable, and tells what follows from a change.
func (c *core) setReachable(p *peer) {
	yes := c.connected && p.hello && p.leased && c.now-p.seen < c.leaseTime()/2
	if yes == p.reachable {
		return
	}
	p.reachable = yes
	if yes {
		c.log.Info("host reachable", "host", p.host, "name", p.name)
	} else {
		c.log.Warn("host unreachable, its ids are unknown", "host", p.host, "name", p.name)
	}
	for _, key := range sortedKeys(p.ids) {
		c.hub.IDUnknown(c.site[key].info.ID, !yes)
	}
}

// peerDown gives a host up: what it had is gone, what it did not take is reported.
func (c *core) peerDown(p *peer, why string) {
	if p.gone {
		return
	}
	p.gone = true
	delete(c.peers, p.host)
	level := slog.LevelWarn
	if !p.hello {
		level = slog.LevelDebug // it has been refused
	}
	c.log.Log(context.Background(), level, "host gone", "host", p.host, "name", p.name, "why", why)
	for _, b := range p.link.barriers {
		c.barrierDone(b.tag)
	}
	for _, port := range sortedKeys(p.flows) {
		c.failFlow(p, port, p.flows[port])
	}
	for _, key := range sortedKeys(p.ids) {
		s := c.site[key]
		delete(c.site, key)
		c.hub.IDRemoved(s.info.ID)
		c.forgetDead(p, s)
	}
	for _, g := range sortedKeys(p.groups) {
		c.setInterest(p.host, g, false)
	}
	c.hub.HostDown(uint32(p.host), why)
}

func (c *core) peersInOrder() []*peer {
	ps := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *peer) int { return cmp.Compare(a.host, b.host) })
	return ps
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// known returns the peer of a host number as the broker has it, nil if there is none.
func (c *core) known(host uint32) *peer {
	if host > connector.MaxHost {
		return nil
	}
	return c.peers[uint16(host)]
}
