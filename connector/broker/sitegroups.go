package broker

import (
	"fmt"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// members tells the bridge of a group's first member, or of its last one's end.
func (s *site) members(num uint32, some bool) {
	if _, waits := s.joins[num]; !waits {
		s.joins[num] = nil
	}
	s.busy = true
	s.up.Members(num, some)
}

// hold keeps the answer to a Join or Leave until the other hosts know of it; false if they do.
func (s *site) hold(num uint32, d held) bool {
	list, waits := s.joins[num]
	if waits {
		d.c.waits++
		s.joins[num] = append(list, d)
	}
	return waits
}

// MembersDone answers Members: the other hosts know.
func (l *SiteLoop) MembersDone(group uint32) { l.s.membersDone(group) }

func (s *site) membersDone(num uint32) {
	h := s.h
	list := s.joins[num]
	delete(s.joins, num)
	for _, d := range list {
		h.answered(d.c)
		switch {
		case d.c.closed:
		case d.m == nil: // a Leave
			h.answer(d.c, d.tag, nil, "")
		case d.c.members[num] != d.m: // it has left again
			h.joined(d.m, d.tag, 0, 0)
		case d.m.g.durable() != nil: // since
			w := d.m.g.durable()
			w.later = append(w.later, d)
			h.locate(d.m.g)
		default:
			var last, epoch uint64
			if hist := d.m.g.hist; hist != nil {
				last, epoch = d.m.next-1, hist.epoch
			}
			h.joined(d.m, d.tag, last, epoch)
			if d.at && d.m.g.hist != nil {
				h.rewind(d.m, d.epoch, d.pos)
			}
		}
	}
}

// Group delivers a Send of another host's client to the members of its group here.
func (l *SiteLoop) Group(port uint32, cred connector.Cred, fr []byte) error {
	s := l.s
	h := s.h
	fail := func(err error) error {
		return fmt.Errorf("group message of port %#x: %w: %w", port, err, connector.ErrProtocol)
	}
	hd, _, err := frame.Parse(fr)
	switch {
	case err != nil:
		return fail(err)
	case int(hd.Len) != len(fr) || hd.Type != frame.Send || hd.Group == 0 || hd.Port != 0:
		return fail(frame.ErrBody)
	}
	if err := checkSend(fr); err != nil {
		return fail(err)
	}
	if _, yes := s.outside(port); !yes {
		return fail(connector.ErrInvalid)
	}
	g := h.groups[hd.Group]
	if g.durable() != nil { // its host does not know that yet
		l.GroupLost(hd.Group, 1, true)
		return nil
	}
	if g == nil {
		return nil // the last member has left meanwhile
	}
	if _, rights := h.known.of(h.rules, s.whoOf(port, cred)); !rights.mayPublish(hd.Group) {
		h.stats.refused(connector.ErrPermission)
		return nil
	}
	h.multicast(nil, port, cred, g, append([]byte(nil), fr...), false, false, 0, nil)
	return nil
}

// GroupLost says that n messages of a group, or with unknown nobody knows how many, did not arrive from another host.
// The members are told, here in the order of messages.
func (l *SiteLoop) GroupLost(group uint32, n uint64, unknown bool) {
	h := l.s.h
	g := h.groups[group]
	if g == nil {
		return
	}
	for _, m := range g.members {
		// They have no positions here: who counts those must not count these.
		h.loseAs(m.c, lostCount{group: group, n: n, unknown: unknown || g.hist != nil})
		h.tellSoon(m.c)
	}
}

// RemoteInterest says on which other hosts the group has members.
func (l *SiteLoop) RemoteInterest(group uint32, hosts []uint32) {
	s := l.s
	had := len(s.listen[group]) > 0
	if len(hosts) == 0 {
		delete(s.listen, group)
	} else {
		s.listen[group] = append([]uint32(nil), hosts...)
	}
	if had != (len(hosts) > 0) {
		s.h.interest(group)
	}
}

// fire sends a notification to the members of its group on other hosts. It comes from this broker, whose
// port has the number of the host alone.
func (s *site) fire(num uint32, m connector.Message) {
	if len(s.listen[num]) == 0 {
		return
	}
	fr, _ := m.AppendNative(make([]byte, frame.HeaderLen), 0) // it has no data
	hd := frame.Header{Len: uint32(len(fr)), Type: frame.Send, Group: num}
	hd.Put(fr)
	s.busy = true
	s.up.Publish(num, connector.SitePort(s.host, 0), s.h.self, fr)
}
