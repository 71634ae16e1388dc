package natsbridge

import (
	"fmt"
	"slices"

	"github.com/cnbus/cnbus/connector"
)

// tailBeacons is for how many beacons after its last message a group's next number is told.
const tailBeacons = 3

// publication is a group that this host publishes to, or may be about to because another one listens.
type publication struct {
	group uint32
	count uint32 // which numbering this is: see forgetPublication
	begin uint64 // number of its first message
	next  uint64 // of the next one
	first uint64 // of the packet being filled
	fill  []byte
	size  sizeHint // of fill
	tails int      // beacons that are still to tell next
	dirty bool
}

// subscription is a group with members on this host.
type subscription struct {
	from map[uint16]*source
}

// source is what a host publishes to a group, as this one has got it.
type source struct {
	run   uint64
	next  uint64
	count uint32 // which numbering that is, if it was told
	told  bool
}

// Publish takes an unconfirmed group message of a local client.
func (c *core) Publish(group, port uint32, cred connector.Cred, fr []byte) {
	p := c.publication(group)
	if !p.dirty { // what was sent before it goes before it
		c.flushPublications()
		c.flushLinks()
	}
	if p.fill != nil && len(p.fill)+len(fr) > fillPacket {
		c.sendPublication(p)
	}
	if p.fill == nil {
		p.fill = c.spare.get(p.size)
		p.first = p.next
	}
	p.fill = appendSend(p.fill, port, cred, fr)
	p.next++
	p.tails = tailBeacons
	c.stats.Published++
	if !p.dirty {
		p.dirty = true
		c.pubDirty = append(c.pubDirty, p)
	}
}

func (c *core) publication(group uint32) *publication {
	p := c.pubs[group]
	if p == nil {
		p = &publication{group: group, count: c.pubCount, begin: c.pubBegin, next: c.pubBegin}
		c.pubs[group] = p
	}
	return p
}

// forgetPublication forgets a group in which no other host has members, when all has been said of it. Numbers must not come again that
// somebody has counted who was cut off meanwhile: those of later publications are higher, and are another numbering, so that the
// difference is not taken for messages.
func (c *core) forgetPublication(p *publication) {
	if p == nil || p.dirty || p.tails > 0 || len(c.interest[p.group]) > 0 {
		return
	}
	delete(c.pubs, p.group)
	if p.next != p.begin {
		c.pubBegin = max(c.pubBegin, p.next)
		c.pubCount++
	}
}

func (c *core) sendPublication(p *publication) {
	p.dirty = false
	if p.fill == nil {
		return
	}
	h := c.header(packetGroup)
	h.seq = p.first
	h.put(p.fill)
	p.size.was(len(p.fill))
	if c.packet(subject{packetGroup, p.group}, p.fill) {
		c.spare.put(p.fill)
	}
	p.fill = nil
}

// Members takes note that a group has its first local member, or none any more, and tells the other hosts. The hub is
// answered once they know what it said last.
func (c *core) Members(group uint32, some bool) {
	c.changes[group]++
	n := c.changes[group]
	done := func() {
		if c.changes[group] == n {
			delete(c.changes, group)
			c.hub.MembersDone(group)
		}
	}
	if c.local != nil && c.local(group) {
		c.soon(done)
		return
	}
	if _, is := c.subs[group]; is == some {
		// What it said before may be on its way still.
		c.announce(func(b []byte) []byte { return appendMembers(b, group, some) }, done)
		return
	}
	if some {
		c.subs[group] = &subscription{from: make(map[uint16]*source)}
	} else {
		delete(c.subs, group)
	}
	c.wire.Listen(group, some)
	c.announce(func(b []byte) []byte { return appendMembers(b, group, some) }, done)
}

// setInterest takes note of whether a host has members in group.
func (c *core) setInterest(host uint16, group uint32, some bool) {
	hosts := c.interest[group]
	if _, is := hosts[host]; is == some {
		return
	}
	if some {
		if hosts == nil {
			hosts = make(map[uint16]struct{})
			c.interest[group] = hosts
		}
		hosts[host] = struct{}{}
	} else if delete(hosts, host); len(hosts) == 0 {
		delete(c.interest, group)
		c.forgetPublication(c.pubs[group])
	}
	list := make([]uint32, 0, len(hosts))
	for h := range hosts {
		list = append(list, uint32(h))
	}
	slices.Sort(list)
	c.hub.RemoteInterest(group, list)
}

// tail takes note of what the next message of a host to a group will be: what is missing before it is lost. Where the host has begun to
// number anew, nobody knows how many are.
func (c *core) tail(host uint16, run uint64, group, count uint32, next uint64) {
	s := c.subs[group]
	if s == nil {
		return
	}
	src := s.from[host]
	if src == nil || src.run != run {
		s.from[host] = &source{run: run, next: next, count: count, told: true}
		return
	}
	if src.told && src.count != count {
		src.next, src.count = next, count
		c.hub.GroupLost(group, 0, true)
		return
	}
	src.count, src.told = count, true
	c.missing(host, group, src, next)
}

// missing tells the members of group what is lost if the next message is number next.
func (c *core) missing(host uint16, group uint32, src *source, next uint64) {
	if next <= src.next {
		return
	}
	n := next - src.next
	src.next = next
	c.groupLost(host, group, n)
}

// groupLost tells the members of group that n messages of a host are missing.
func (c *core) groupLost(host uint16, group uint32, n uint64) {
	c.stats.GroupLost += n
	if p := c.peers[host]; p != nil {
		p.lost += n
	}
	c.hub.GroupLost(group, n, false)
}

// groupPacket takes messages of another host to a group.
func (c *core) groupPacket(h *packetHeader, group uint32, records []byte) {
	s := c.subs[group]
	if s == nil {
		return // left meanwhile
	}
	src := s.from[h.host]
	if src == nil || src.run != h.run {
		src = &source{run: h.run, next: h.seq}
		s.from[h.host] = src
	}
	c.missing(h.host, group, src, h.seq)
	for seq := h.seq; len(records) > 0; seq++ {
		kind, body, rest, err := nextRecord(records)
		if err == nil && kind != recordSend {
			err = errRecord
		}
		if err != nil {
			c.refuse(h.host, err)
			return // what follows is missing when the next one comes
		}
		records = rest
		if seq < src.next {
			c.stats.Late++ // it was told as lost
			continue
		}
		src.next = seq + 1
		port, cred, fr, err := c.parseSend(h.host, c.nameOf(h.host), body)
		if err == nil && groupOf(fr) != group {
			err = errFrame
		}
		if err != nil {
			c.refuse(h.host, err)
			c.groupLost(h.host, group, 1)
			continue
		}
		c.stats.Received++
		if err := c.hub.Group(port, cred, fr); err != nil {
			c.refuse(h.host, fmt.Errorf("%w: %w", errFrame, err))
		}
	}
}
