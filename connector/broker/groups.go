package broker

import (
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// group is a multicast group: it exists while it has members, a history or
// numbers worth showing.
type group struct {
	num       uint32
	members   []*member
	published uint64
	dropped   uint64
	hist      *history
}

// member is one client's membership.
type member struct {
	c       *conn
	g       *group
	index   int    // in g.members
	next    uint64 // position of the next message, in a group with history
	joining bool   // of a durable group: where it begins is not known yet
	lagging bool   // the next message is to be read at cur
	cur     connector.HistoryCursor
}

func (h *hub) group(num uint32) *group {
	g := h.groups[num]
	if g == nil {
		g = &group{num: num}
		h.groups[num] = g
		if want, ok := h.policyHistory(num); ok {
			h.setHistory(g, want, nil)
		}
	}
	if g.durable() == nil {
		if want, ok := h.durableHistory(num); ok {
			h.makeDurable(g, want)
		}
	}
	return g
}

// handleJoin answers with the group's last position and epoch.
func (h *hub) handleJoin(c *conn, hd *frame.Header, body []byte) error {
	at := hd.Flags&frame.FlagAt != 0
	var epoch uint64
	if at {
		if err := frame.ParseU64s(body, &epoch); err != nil {
			return err
		}
	} else if len(body) != 0 {
		return frame.ErrBody
	}
	if hd.Group == 0 {
		h.answer(c, hd.Tag, connector.ErrInvalid, "group 0 means no group")
		return nil
	}
	if !c.rights.mayJoin(hd.Group) {
		h.answer(c, hd.Tag, connector.ErrPermission, sprintf("uid %d may not join group %d", c.cred.UID, hd.Group))
		return nil
	}
	if h.site == nil && !h.willJoin && h.isDurable(hd.Group) {
		h.answer(c, hd.Tag, connector.ErrNotSupported, sprintf("the history of group %d is durable, and this broker is not joined to others", hd.Group))
		return nil
	}
	if at && h.waitsForSite(c, hd, epoch) {
		return nil
	}
	m := c.members[hd.Group]
	if m == nil {
		if why := c.acct.take(&c.acct.members, c.acct.limits.Memberships, "memberships"); why != "" {
			h.limit(c, why)
			h.answer(c, hd.Tag, connector.ErrLimit, why)
			return nil
		}
		g := h.group(hd.Group)
		m = &member{c: c, g: g, index: len(g.members)}
		g.members = append(g.members, m)
		if c.members == nil {
			c.members = make(map[uint32]*member)
		}
		c.members[hd.Group] = m
		m.joining = g.durable() != nil
		if g.hist != nil && !m.joining {
			m.next = g.hist.next()
		}
		if len(g.members) == 1 {
			h.interest(g.num)
			if h.site != nil && !m.joining {
				h.site.members(g.num, true)
			}
		}
	}
	if d := m.g.durable(); d != nil {
		if len(d.later) >= len(m.g.members)+joinsWaiting {
			h.answer(c, hd.Tag, connector.ErrWouldBlock, sprintf("too many joins of group %d wait for the store", hd.Group))
			return nil
		}
		d.later = append(d.later, held{c: c, tag: hd.Tag, m: m, at: at, epoch: epoch, pos: hd.Pos})
		h.locate(m.g)
		return nil
	}
	if h.site != nil && h.site.hold(hd.Group, held{c: c, tag: hd.Tag, m: m, at: at, epoch: epoch, pos: hd.Pos}) {
		return nil
	}
	h.joinKept(held{c: c, tag: hd.Tag, m: m, at: at, epoch: epoch, pos: hd.Pos})
	return nil
}

// joinKept answers a Join of a group whose history, if it has one, is here.
func (h *hub) joinKept(w held) {
	var last, epoch uint64
	hist := w.m.g.hist
	if hist != nil {
		last, epoch = hist.next()-1, hist.epoch
	}
	h.joined(w.m, w.tag, last, epoch)
	if w.at && hist != nil {
		h.rewind(w.m, w.epoch, w.pos)
	}
}

// joined answers a Join.
func (h *hub) joined(m *member, tag uint32, last, epoch uint64) {
	h.control(m.c, frame.Header{Type: frame.Ack, Tag: tag, Group: m.g.num, Pos: last}, frame.AppendU64s(nil, epoch)...)
}

func (h *hub) handleLeave(c *conn, hd *frame.Header) {
	if m := c.members[hd.Group]; m != nil {
		delete(c.members, hd.Group)
		if m.lagging && !h.catchUpMember(m) {
			n := m.g.hist.next() - m.next
			h.lose(c, m.g.num, n)
			m.g.dropped += n
		}
		h.leave(m)
		if h.site != nil && len(m.g.members) == 0 && h.site.hold(hd.Group, held{c: c, tag: hd.Tag}) {
			return
		}
	}
	h.answer(c, hd.Tag, nil, "")
}

// leave takes m out of its group; the caller takes it out of its client.
func (h *hub) leave(m *member) {
	g := m.g
	end := len(g.members) - 1
	g.members[m.index] = g.members[end]
	g.members[m.index].index = m.index
	g.members[end] = nil
	g.members = g.members[:end]
	m.c.acct.members--
	if m.lagging {
		m.lagging = false
		m.c.dropLagging(m)
	}
	if d := g.durable(); d != nil {
		d.dropJoins(m)
	}
	if len(g.members) == 0 {
		if g.durable() != nil {
			h.endDurable(g)
			return
		}
		h.interest(g.num)
		if h.site != nil {
			h.site.members(g.num, false)
		}
		if g.hist == nil {
			delete(h.groups, g.num)
		}
	}
}

// sendGroup queues fr for the members of group. It returns false when c must
// wait.
func (h *hub) sendGroup(c *conn, hd *frame.Header, fr []byte, num uint32) (*connector.Error, bool) {
	if !c.rights.mayPublish(num) {
		return connector.ErrPermission, true
	}
	g := h.groups[num]
	if g.durable() != nil || (g == nil || len(g.members) == 0) && h.isDurable(num) {
		return h.sendDurable(c, hd, fr, num)
	}
	if g == nil {
		if _, ok := h.rules.historyOf(num); ok {
			g = h.group(num) // it is kept for those who join later
		}
	}
	nobody := g == nil || len(g.members) == 0 && g.hist == nil || len(g.members) == 1 && g.members[0].c == c && g.hist == nil
	elsewhere := h.hears(c, num)
	if nobody && len(elsewhere) == 0 {
		return connector.ErrNoListener, true
	}
	wait, ack := hd.Flags&frame.FlagWait != 0, hd.Flags&frame.FlagAck != 0
	if wait && !nobody && !h.roomInGroup(c, g, len(fr)) {
		return nil, false
	}
	var join *ackJoin
	if len(elsewhere) > 0 {
		if (wait || ack) && !h.site.roomElsewhere(c, elsewhere, len(fr)) {
			return nil, false
		}
		join = h.site.sendGroup(c, num, elsewhere, hd, fr) // while it is a Send
	}
	if !nobody {
		join = h.multicast(c, c.port, c.cred, g, fr, wait, ack, hd.Tag, join)
	}
	if ack && join == nil {
		h.answer(c, hd.Tag, nil, "")
	}
	return nil, true
}

// roomInGroup tells the sender to stop when a member is full, and returns
// false when it must not go on at all.
func (h *hub) roomInGroup(c *conn, g *group, n int) bool {
	holdsUp := func(d *conn) bool { return d != c && h.full(d) && !h.givesUp(c, d) }
	var s *stopped
	ok := true
	for _, m := range g.members {
		if d := m.c; holdsUp(d) {
			s = h.stopFor(c, &d.stops, stopKey{group: g.num})
			ok = ok && !h.crowded(c, d, d.overruns, n)
		}
	}
	if s == nil {
		return true
	}
	if !ok || s.over+n > h.tune.overrun {
		h.pause(c)
		return false
	}
	s.over += n // once, however many are full
	for _, m := range g.members {
		if holdsUp(m.c) {
			m.c.overruns.add(c, n)
		}
	}
	return true
}

// multicast copies fr to every member but c (nil: the broker itself sends) and
// returns what those are counted in whose acknowledgement is awaited: join, a new one, or nil if there are none.
func (h *hub) multicast(c *conn, port uint32, cred connector.Cred, g *group, fr []byte, wait, ack bool, tag uint32, join *ackJoin) *ackJoin {
	g.published++
	var pos uint64
	if g.hist != nil {
		pos = g.hist.next()
	}
	stamp(fr, port, cred, 0, g.num, pos)
	if g.hist != nil {
		h.remember(g, fr)
	}
	for _, m := range g.members {
		d := m.c
		if d == c || d.last {
			if g.hist != nil && !m.lagging {
				m.next = pos + 1
			}
			continue
		}
		if g.hist != nil && m.lagging {
			continue
		}
		if !wait && (d.congested || h.full(d)) || wait && h.givesUp(c, d) {
			if g.hist != nil {
				m.lag(g.hist.end)
				continue
			}
			d.congested = d.out.len() > h.tune.queue/2
			g.dropped++
			h.lose(d, g.num, 1)
			continue
		}
		h.put(d, fr)
		h.stats.Delivered++
		m.next = pos + 1
		if ack && (wait || !d.mute) {
			if join == nil {
				join = &ackJoin{}
			}
			join.left++
			d.acks = append(d.acks, pendingAck{mark: d.out.enq, c: c, tag: tag, lossy: !wait, join: join})
		}
	}
	return join
}

// interest tells the agents whose ids share the group whether it has members.
func (h *hub) interest(num uint32) {
	regs := h.byIdx[num]
	for i, r := range regs {
		told := false
		for _, earlier := range regs[:i] {
			told = told || earlier.owner == r.owner
		}
		if !told {
			h.tellInterest(r.owner, num)
		}
	}
}

// tellInterest tells c the state of a group. One that does not read gets the
// last state when it does: others change it as often as they like.
func (h *hub) tellInterest(c *conn, num uint32) {
	if len(c.inlines) > 0 {
		h.interestInline(c, num)
	}
	if c.out.len() >= 2*h.tune.queue {
		if c.interests == nil {
			c.interests = make(map[uint32]struct{})
		}
		c.interests[num] = struct{}{}
		return
	}
	hd := frame.Header{Type: frame.Interest, Group: num}
	if h.heard(num) {
		hd.Code = 1
	}
	h.control(c, hd)
}

// heard reports whether the group has members, here or on another host.
func (h *hub) heard(num uint32) bool {
	g := h.groups[num]
	return g != nil && len(g.members) > 0 || h.isDurable(num) || h.site != nil && len(h.site.listen[num]) > 0
}

func (c *conn) dropLagging(m *member) {
	for i, x := range c.lagging {
		if x == m {
			c.lagging = append(c.lagging[:i], c.lagging[i+1:]...)
			return
		}
	}
}

// handleHistory bounds the history of a group; who may: the owner of an id of
// that idx, and the privileged.
func (h *hub) handleHistory(c *conn, hd *frame.Header, body []byte) error {
	var msgs, bytes, age uint64
	if err := frame.ParseU64s(body, &msgs, &bytes, &age); err != nil {
		return err
	}
	owns := c.rights.admin || h.asksFor(c, hd.Group)
	for _, r := range h.byIdx[hd.Group] {
		owns = owns || r.owner == c
	}
	switch {
	case hd.Group == 0 || msgs > 1<<31 || bytes > 1<<40 || age > 1<<62:
		h.answer(c, hd.Tag, connector.ErrInvalid, "")
	case !owns:
		h.answer(c, hd.Tag, connector.ErrPermission, sprintf("no id of idx %d is registered by this client", hd.Group))
	default:
		want := historyOf(msgs, bytes, age)
		want.Durable = hd.Flags&frame.FlagSite != 0
		if want.Durable || h.isDurable(hd.Group) || h.defining(hd.Group) {
			h.define(c, hd, want)
			return nil
		}
		if why := h.setHistory(h.group(hd.Group), want, c.acct); why != "" {
			h.limit(c, why)
			h.answer(c, hd.Tag, connector.ErrLimit, why)
			return nil
		}
		h.answer(c, hd.Tag, nil, "")
	}
	return nil
}

func historyOf(msgs, bytes, age uint64) connector.History {
	return connector.History{Messages: int(msgs), Bytes: int(bytes), Age: time.Duration(age)}
}

// limit says in the log who exceeded what.
func (h *hub) limit(c *conn, why string) {
	h.stats.Limited++
	h.warn(c, "limit", why)
}
