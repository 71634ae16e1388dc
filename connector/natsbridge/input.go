package natsbridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// refusal counts payloads that were refused for one reason.
type refusal struct {
	n    uint64
	said int64
}

// refuse counts what another host sent wrong, and says so once a minute.
func (c *core) refuse(host uint16, err error) {
	c.stats.Refused++
	reason := reasonOf(err)
	r := c.refused[reason]
	if r == nil {
		r = &refusal{said: c.now - int64(time.Hour)}
		c.refused[reason] = r
	}
	r.n++
	if c.now-r.said >= int64(time.Minute) {
		r.said = c.now
		c.log.Warn("foreign or damaged traffic on the site's subjects", "host", host, "err", err, "so far", r.n)
	}
}

func reasonOf(err error) string {
	for _, e := range []error{errShortPacket, errMagic, errVersion, errType, errHost, errRecord, errPort, errFrame, errLocal, errName, errAgents} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return "other"
}

// receive takes a payload from a subject. It borrows b, and may change it.
func (c *core) receive(from subject, b []byte) {
	c.now = c.clock()
	c.stats.PacketsIn++
	c.stats.BytesIn += uint64(len(b))
	h, records, err := parsePacket(b)
	if err == nil && h.kind != from.kind {
		err = fmt.Errorf("%w: type %d", errType, h.kind)
	}
	switch {
	case err != nil:
		c.refuse(h.host, err)
	case h.host == c.host && h.run == c.run:
		// An echo.
	case h.host == c.host:
		c.refuse(h.host, fmt.Errorf("%w: %d is this host's own; is another broker of the same name running?", errHost, h.host))
	case h.kind == packetBeacon:
		c.beaconPacket(&h, records)
	case h.kind == packetGroup:
		if p := c.peers[h.host]; p != nil && p.run == h.run {
			p.seen = c.now
			p.bytesIn += uint64(len(b))
		}
		c.groupPacket(&h, from.num, records)
	default:
		c.linkPacket(&h, records, len(b))
	}
}

// beaconPacket takes word that a host is there.
func (c *core) beaconPacket(h *packetHeader, records []byte) {
	p := c.peers[h.host]
	if p != nil && p.run != h.run {
		c.peerDown(p, "its broker was restarted")
		p = nil
	}
	if p == nil {
		kind, body, rest, err := nextRecord(records)
		if err == nil && kind == recordHello {
			if isLeaving(rest) {
				return // a good-bye of somebody unknown
			}
			f := fields{b: body}
			if err = c.checkName(h.host, f.name(1, MaxHostName)); f.bad {
				err = errRecord
			}
		}
		if err != nil {
			c.refuse(h.host, err)
			return
		}
		p = c.newPeer(h.host, h.run)
	}
	c.alive(p)
	for len(records) > 0 {
		kind, body, rest, err := nextRecord(records)
		if err != nil {
			c.refuse(h.host, err)
			return
		}
		records = rest
		f := fields{b: body}
		switch kind {
		case recordHello:
			name := f.name(1, MaxHostName)
			err := f.end(kind)
			if err == nil {
				err = c.takeName(p, name)
			}
			if err != nil {
				c.refuse(h.host, err)
			}
		case recordTail:
			group, count, next := f.u32(), f.u32(), f.u64()
			if f.end(kind) == nil {
				c.tail(h.host, h.run, group, count, next)
			}
		case recordLease:
			if yes := f.u32(); f.end(kind) == nil && yes == 0 {
				c.peerDown(p, "it has left")
				return
			}
		}
	}
}

func isLeaving(records []byte) bool {
	kind, body, _, err := nextRecord(records)
	return err == nil && kind == recordLease && len(body) == 4 && le.Uint32(body) == 0
}

// alive takes note that p was heard of.
func (c *core) alive(p *peer) {
	p.seen = c.now
	c.setReachable(p)
}

// linkPacket takes a packet of a link. It finds out first which link it is of.
func (c *core) linkPacket(h *packetHeader, records []byte, n int) {
	p := c.peers[h.host]
	begins := h.peer == 0
	switch {
	case p == nil && !begins, p != nil && p.run != h.run && !begins:
		c.stats.Stale++
		return
	case p != nil && p.run != h.run:
		c.peerDown(p, "its broker was restarted")
		p = nil
	case p == nil:
	case !begins && h.peer != p.link.own.session:
		c.stats.Stale++
		return
	case p.link.peer != 0 && h.session != p.link.peer:
		if !begins || h.session < p.link.peer {
			c.stats.Stale++
			return
		}
		c.peerDown(p, "it began anew")
		p = nil
	}
	if p == nil {
		p = c.newPeer(h.host, h.run)
	}
	p.link.peer = h.session
	p.seen = c.now
	p.bytesIn += uint64(n)
	if p.link.receive(h, n, c.now) {
		c.linkRecords(p, records)
	}
	if !p.gone {
		c.setReachable(p)
		c.touch(p)
	}
}

// linkRecords does what the records of a packet say.
func (c *core) linkRecords(p *peer, records []byte) {
	for len(records) > 0 && !p.gone {
		kind, body, rest, err := nextRecord(records)
		if err == nil {
			err = c.linkRecord(p, kind, body)
		}
		if err != nil {
			c.refuse(p.host, err)
		}
		if errors.Is(err, errName) {
			c.peerDown(p, "its name is another's")
			return
		}
		if rest == nil {
			return
		}
		if kind.urgent() {
			p.link.ackNow = true
		}
		records = rest
	}
}

func (c *core) linkRecord(p *peer, kind recordKind, body []byte) error {
	if !p.hello && kind != recordHello {
		return fmt.Errorf("%w: kind %d before Hello", errRecord, kind)
	}
	f := fields{b: body}
	switch kind {
	case recordSend:
		return c.sendRecord(p, body)
	case recordAnswer:
		return c.answerRecord(p, body)
	case recordConsumed:
		port, n := f.u32(), f.u32()
		if err := f.end(kind); err != nil {
			return err
		}
		if fl := p.flows[port]; fl != nil {
			c.hub.Credit(uint32(p.host), port, fl.consumed(int(n)))
		}
	case recordLeft:
		port := f.u32()
		if err := f.end(kind); err != nil {
			return err
		}
		if connector.HostOf(port) != uint32(p.host) {
			return errPort
		}
		delete(p.consumed, port)
		c.hub.Remove(port)
	case recordMembers:
		group, yes := f.u32(), f.u32()
		if err := f.end(kind); err != nil {
			return err
		}
		return c.membersRecord(p, group, yes != 0)
	case recordTail:
		group, count, next := f.u32(), f.u32(), f.u64()
		if err := f.end(kind); err != nil {
			return err
		}
		c.tail(p.host, p.run, group, count, next)
	case recordHello:
		name := f.name(1, MaxHostName)
		if err := f.end(kind); err != nil {
			return err
		}
		if err := c.takeName(p, name); err != nil {
			return err
		}
		if !p.hello {
			p.hello = true
			c.listAt = c.now // what it has told others meanwhile
			c.wake(c.now)
			c.hub.HostUp(uint32(p.host), p.name)
		}
	case recordLease:
		yes := f.u32()
		if err := f.end(kind); err != nil {
			return err
		}
		p.leased = yes != 0
	case recordDurable:
		group, want := f.durable()
		if err := f.end(kind); err != nil {
			return err
		}
		c.learn(group, want)
	case recordID:
		return c.idRecord(p, &f)
	case recordNoID:
		return c.noIDRecord(p, &f)
	case recordPing, recordPong:
		n := f.u64()
		if err := f.end(kind); err != nil {
			return err
		}
		if kind == recordPing {
			c.record(p, func(b []byte) []byte { return appendPing(b, recordPong, n) })
		} else if d := c.now - int64(n); d >= 0 && d < c.leaseTime() {
			p.rtt = d
		}
	}
	return nil // a kind of a later version is none of ours
}

func (c *core) membersRecord(p *peer, group uint32, some bool) error {
	if c.local != nil && c.local(group) {
		return fmt.Errorf("%w: members of group %d", errLocal, group)
	}
	if group == 0 || some && len(p.groups) >= maxPeerGroups {
		return fmt.Errorf("%w: group %d, of %d", errRecord, group, len(p.groups))
	}
	if some {
		p.groups[group] = struct{}{}
		pub := c.publication(group)
		c.record(p, func(b []byte) []byte { return appendTail(b, group, pub.count, pub.next) })
	} else {
		delete(p.groups, group)
	}
	c.setInterest(p.host, group, some)
	return nil
}

// takeName takes note of what a host says its name is. The policy goes by it, so that it is nobody else's, and stays.
func (c *core) takeName(p *peer, name string) error {
	if p.name == name {
		return nil
	}
	if p.name != "" {
		return fmt.Errorf("%w: host %d was %s, and is %s now", errName, p.host, p.name, name)
	}
	err := c.checkName(p.host, name)
	if err == nil {
		p.name = name
	}
	return err
}

// checkName refuses a name that is another host's.
func (c *core) checkName(host uint16, name string) error {
	if name == c.name {
		return fmt.Errorf("%w: host %d says that it is %s, which is this one", errName, host, name)
	}
	for _, other := range c.peers {
		if other.name == name && other.host != host {
			return fmt.Errorf("%w: host %d says that it is %s, which is number %d", errName, host, name, other.host)
		}
	}
	return nil
}

// nameOf is the name of a host as far as it is known, else "".
func (c *core) nameOf(host uint16) string {
	if p := c.peers[host]; p != nil {
		return p.name
	}
	return ""
}

// parseSend checks a Send record: a message of a client of the host with that name.
func (c *core) parseSend(host uint16, name string, body []byte) (port uint32, cred connector.Cred, fr []byte, err error) {
	f := fields{b: body}
	port, cred = f.u32(), f.cred()
	if f.bad {
		return 0, cred, nil, errRecord
	}
	if connector.HostOf(port) != uint32(host) {
		return 0, cred, nil, fmt.Errorf("%w: port %d:%d in a packet of host %d", errPort, connector.HostOf(port), connector.LocalPort(port), host)
	}
	ownFrame(f.b)
	if err := checkSend(f.b); err != nil {
		return 0, cred, nil, err
	}
	if c.cred != nil {
		cred = c.cred(name, cred)
	}
	return port, cred, f.b, nil
}

// staysLocal reports whether a frame is for a group that stays on its host.
func (c *core) staysLocal(fr []byte) bool {
	h := frame.ParseHeader(fr)
	group := h.Group
	if h.Type != frame.Send || h.Port != 0 || c.local == nil {
		return false
	}
	if group == 0 && h.Flags&frame.FlagAgent != 0 {
		group = binary.NativeEndian.Uint32(fr[frame.HeaderLen+16:]) // idx of the message's id
	}
	return group != 0 && c.local(group)
}

func groupOf(fr []byte) uint32 {
	h := frame.ParseHeader(fr)
	return h.Group
}

func (c *core) sendRecord(p *peer, body []byte) error {
	port, cred, fr, err := c.parseSend(p.host, p.name, body)
	if err == nil && connector.LocalPort(port) == 0 {
		err = errPort // a broker sends to groups only
	}
	if err == nil && c.staysLocal(fr) {
		err = errLocal
	}
	if err != nil {
		return err
	}
	p.in++
	c.stats.Received++
	if err := c.hub.Input(port, cred, p.name, fr); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

func (c *core) answerRecord(p *peer, body []byte) error {
	f := fields{b: body}
	port := f.u32()
	if f.bad {
		return errRecord
	}
	if connector.HostOf(port) != uint32(c.host) {
		return errPort
	}
	ownFrame(f.b)
	if err := checkAnswer(f.b); err != nil {
		return err
	}
	if err := c.hub.Deliver(uint32(p.host), port, f.b); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}
