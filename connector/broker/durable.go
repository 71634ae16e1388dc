package broker

import (
	"slices"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// durable is a group's history that the site's store keeps (docs/hosts.md, "Durable groups"). The messages
// of its members, those of this host's senders too, come from the store; the newest of them are in the
// history's ring, and who is further behind is given what is fetched.
type durable struct {
	opened   bool   // the epoch is known, and the ring is where the store is read
	asked    uint64 // the position read next when the location was asked for
	locating bool
	waiting  []held // Joins that the location under way answers
	later    []held // those that came since it was asked for
	fetching bool
	refused  bool // by the store, and that was logged
}

const (
	// storeHost stands for the store where a host's number does: nobody has it.
	storeHost = 0
	// durableRing is how many bytes of the newest messages are kept here.
	durableRing = 1 << 20
)

// joinsWaiting is how many Joins of a durable group's members, beyond one for each, and how many requests for its
// history may wait for the store.
const joinsWaiting = 1024

func (g *group) durable() *durable {
	if g == nil || g.hist == nil {
		return nil
	}
	return g.hist.durable
}

// durableHistory returns what the store keeps of a group, if it keeps it: by the policy, or as
// somebody in the site has asked.
func (h *hub) durableHistory(num uint32) (connector.History, bool) {
	if h.site != nil {
		if want, ok := h.site.durable[num]; ok {
			return want, true
		}
	}
	want, ok := h.rules.historyOf(num)
	return want, ok && want.Durable && !h.staysHome(num)
}

// staysHome reports whether a group is of this host alone, so that no store of the site keeps it.
func (h *hub) staysHome(num uint32) bool {
	return h.site != nil && h.site.local != nil && h.site.local(num)
}

// policyHistory is what the policy gives a group; one that stays on its host has it here.
func (h *hub) policyHistory(num uint32) (connector.History, bool) {
	want, ok := h.rules.historyOf(num)
	if want.Durable && h.staysHome(num) {
		want.Durable = false
		h.log.Warn("the policy makes a group durable that stays on its host: it is kept here", "group", num)
	}
	return want, ok
}

// keepHome has the groups that stay on their host kept here, where it was not known yet that they do.
func (h *hub) keepHome() {
	for num, g := range h.groups {
		d := g.durable()
		if d == nil || !h.staysHome(num) {
			continue
		}
		h.dropDurable(g)
		if want, ok := h.policyHistory(num); ok {
			h.setHistory(g, want, nil)
		}
		for _, w := range append(d.waiting, d.later...) {
			if !w.c.closed {
				h.joinKept(w)
			}
		}
	}
}

// dropDurable takes the store's history from a group; who is behind in it is told.
func (h *hub) dropDurable(g *group) {
	for _, m := range g.members {
		if m.lagging {
			m.lagging = false
			m.c.dropLagging(m)
			h.loseAs(m.c, lostCount{group: g.num, unknown: true})
			h.tellSoon(m.c)
		}
		m.joining = false
	}
	g.hist = nil
}

func (h *hub) isDurable(num uint32) bool {
	_, ok := h.durableHistory(num)
	return ok
}

// makeDurable has the members of g get their messages from the store from now on.
func (h *hub) makeDurable(g *group, want connector.History) {
	if g.durable() != nil {
		return
	}
	if g.hist != nil {
		h.catchUpAll(g)
		h.uncharge(g.hist)
		g.hist.close()
	}
	window := connector.History{Bytes: durableRing}
	g.hist = &history{ring: connector.NewHistoryRing(make([]byte, historyStart), window), want: window, durable: &durable{}}
	for _, m := range g.members {
		m.next = 0 // where the store is when that is known
	}
	if h.site != nil && len(g.members) > 0 {
		h.site.members(g.num, false)
	}
	h.locate(g)
}

// dropJoins forgets the Joins of a member that goes before they are answered; the others are those of clients that have left.
func (d *durable) dropJoins(m *member) {
	gone := func(w held) bool { return w.m == m && w.c.closed }
	d.waiting = slices.DeleteFunc(d.waiting, gone)
	d.later = slices.DeleteFunc(d.later, gone)
}

// endDurable is called when g has no member any more.
func (h *hub) endDurable(g *group) {
	d := g.durable()
	for _, w := range append(d.waiting, d.later...) {
		if !w.c.closed {
			h.joined(w.m, w.tag, 0, 0)
		}
	}
	if h.site != nil {
		h.site.busy = true
		h.site.up.Read(g.num, 0)
	}
	delete(h.groups, g.num)
}

// locate finds out where the store is, for those who join and to begin reading.
func (h *hub) locate(g *group) {
	d := g.durable()
	if h.site == nil || d.locating || d.opened && len(d.later) == 0 || len(g.members) == 0 {
		return
	}
	d.locating = true
	d.asked = g.hist.next()
	d.waiting, d.later = d.later, nil
	want, _ := h.durableHistory(g.num)
	h.site.busy = true
	h.site.up.Locate(g.num, want)
}

// Located says where the history of a durable group is: the epoch of its positions, the first that is kept, the last
// that was given out. It is said unasked when positions begin anew, for which another is true. With an error who waits is
// refused.
func (l *SiteLoop) Located(group uint32, epoch, first, last uint64, another bool, err *connector.Error, text string) {
	h := l.s.h
	g := h.groups[group]
	d := g.durable()
	if d == nil {
		if err != nil {
			l.s.busy = true
			l.s.up.Read(group, 0) // nobody waits for it
		}
		return
	}
	d.locating = false
	waiting := d.waiting
	d.waiting = nil
	if err != nil {
		// Those that came since too: the members that they are of go.
		waiting = append(waiting, d.later...)
		d.later = nil
		h.refuseJoins(waiting, err, text)
		if h.groups[group] == g && !d.refused {
			d.refused = true
			h.log.Warn("the store refuses the history of a group that has members", "group", group, "why", text)
		}
		return
	}
	d.refused = false
	t := g.hist
	// What is read meanwhile may be further than last.
	known := t.epoch == epoch && last+1 >= d.asked && !another
	if !known && t.epoch != 0 {
		h.log.Warn("the store has another history of a group than before", "group", group, "epoch", epoch, "last", last)
		h.restartDurable(g, first)
	}
	if !known || !d.opened {
		if !known {
			t.ring = connector.NewHistoryRing(make([]byte, historyStart), t.want)
			t.epoch = epoch
		}
		d.opened = true
		t.ring.SkipTo(last + 1)
		d.fetching = false // reading ends what was asked for before
		l.s.busy = true
		l.s.up.Read(group, t.next())
	}
	for _, m := range g.members {
		if m.next == 0 && !m.joining {
			m.next = max(last+1, t.next())
		}
	}
	for _, w := range waiting {
		h.joinDurable(w, first, last)
	}
	for _, m := range g.members {
		if m.next != 0 && m.next < t.next() && !m.lagging {
			m.lag(t.ring.Seek(m.next - 1))
		}
	}
	h.serveDurable(g)
	h.locate(g)
}

// restartDurable tells the members that positions begin anew.
func (h *hub) restartDurable(g *group, first uint64) {
	for _, m := range g.members {
		if m.lagging {
			m.lagging = false
			m.c.dropLagging(m)
		}
		if m.next != 0 {
			m.next = first
			h.loseAs(m.c, lostCount{group: g.num, unknown: true})
			h.tellSoon(m.c)
		}
	}
}

func (h *hub) refuseJoins(waiting []held, err *connector.Error, text string) {
	for _, w := range waiting {
		if w.c.closed {
			continue
		}
		h.answer(w.c, w.tag, err, text)
		if m := w.m; w.c.members[m.g.num] == m && m.joining {
			delete(w.c.members, m.g.num)
			h.leave(m)
		}
	}
}

// joinDurable answers a Join when it is known where the store is.
func (h *hub) joinDurable(w held, first, last uint64) {
	if w.c.closed {
		return
	}
	m, t := w.m, w.m.g.hist
	if w.c.members[m.g.num] != m {
		h.joined(m, w.tag, 0, 0)
		return
	}
	if m.next == 0 {
		m.next = max(last+1, t.next())
	}
	m.joining = false
	h.joined(m, w.tag, m.next-1, t.epoch)
	if !w.at {
		return
	}
	switch {
	case w.epoch == t.epoch && w.pos <= max(last, t.next()-1):
		m.next = w.pos + 1
	case w.epoch == 0 && w.pos == 0:
		m.next = first
	default:
		h.control(m.c, frame.Header{Type: frame.Lost, Flags: frame.FlagUnknown, Group: m.g.num})
		m.next = first
	}
	if m.lagging {
		m.cur = t.ring.Seek(m.next - 1)
	}
}

// serveDurable gives the members that are behind what there is room for.
func (h *hub) serveDurable(g *group) {
	for _, m := range g.members {
		if m.lagging && !h.full(m.c) {
			h.catchUp(m.c)
		}
	}
}

// catchUpDurable is catchUpMember for a durable group: true when m has all that was read here. What is not in the ring
// is fetched, and the rest follows when it comes.
func (h *hub) catchUpDurable(m *member) bool {
	t, c := m.g.hist, m.c
	if !t.durable.opened {
		return false
	}
	for m.next < t.next() {
		if h.full(c) {
			return false
		}
		if m.next < t.ring.First() {
			h.fetch(m.g)
			return false
		}
		if m.cur.Next() != m.next {
			m.cur = t.ring.Seek(m.next - 1)
		}
		rec, _, _ := t.ring.Read(&m.cur)
		m.next = m.cur.Next()
		h.give(m, rec)
	}
	if len(c.lost) > 0 {
		h.tellLost(c)
	}
	return true
}

// give copies a record to m, unless it is m's own message of this run of the broker.
func (h *hub) give(m *member, rec []byte) {
	c := m.c
	if len(c.lost) > 0 {
		h.tellLost(c)
	}
	hd := frame.ParseHeader(rec)
	if hd.Type == frame.Msg && hd.Tag == 0 && h.site != nil && hd.Port == h.site.sitePort(c) {
		return
	}
	out := h.append(c, len(rec))
	copy(out, rec)
	if hd.Type != frame.Msg {
		c.stat.Lost++
		h.stats.Lost++
		return
	}
	hd.Tag = 0
	hd.Put(out)
	c.stat.Delivered++
	h.stats.Delivered++
}

// fetch asks the store for what the furthest of those members needs that have room.
func (h *hub) fetch(g *group) {
	d := g.durable()
	if d.fetching || h.site == nil {
		return
	}
	from := uint64(0)
	for _, m := range g.members {
		if m.lagging && m.next != 0 && m.next < g.hist.ring.First() && !h.full(m.c) && (from == 0 || m.next < from) {
			from = m.next
		}
	}
	if from != 0 {
		d.fetching = true
		h.site.busy = true
		h.site.up.Fetch(g.num, from)
	}
}

// Stored is a message of a durable group.
type Stored struct {
	Pos     uint64
	Port    uint32
	Cred    connector.Cred
	Host    string // the name of the host that Port is of, "" if it is not known; it need not be there
	Frame   []byte // the Send; nil if what the store has at that position is none
	Earlier bool   // it is of an earlier run of this host
}

// record is what the members get: a Msg, or a Lost in its place. The tag of one of an earlier run is 1, here: its port
// may be another's by now.
func (h *hub) record(group uint32, s *Stored) []byte {
	lost := frame.Header{Type: frame.Lost, Group: group, Pos: 1}
	hd, _, err := frame.Parse(s.Frame)
	if err != nil || int(hd.Len) != len(s.Frame) || hd.Type != frame.Send || hd.Group != group || checkSend(s.Frame) != nil {
		return lost.Append(nil)
	}
	who := h.site.whoOf(s.Port, s.Cred)
	if who.foreign && who.host == "" {
		who.host = s.Host
	}
	if _, rights := h.known.of(h.rules, who); who.foreign && !rights.mayPublish(group) {
		h.stats.refused(connector.ErrPermission)
		return lost.Append(nil)
	}
	m := msgHeader(s.Port, s.Cred, len(s.Frame), 0, group, s.Pos)
	if s.Earlier {
		m.Tag = 1
	}
	m.Put(s.Frame)
	return s.Frame
}

// Stored takes the next message of a durable group; what lies between its position and that of the one before
// is no longer kept, or was not read. It takes the frame over.
func (l *SiteLoop) Stored(group uint32, s *Stored) {
	h := l.s.h
	g := h.groups[group]
	d := g.durable()
	if d == nil || !d.opened || s.Pos < g.hist.next() {
		return
	}
	t := g.hist
	t.ring.SkipTo(s.Pos)
	rec := h.record(group, s)
	h.remember(g, rec)
	g.published++
	for _, m := range g.members {
		switch c := m.c; {
		case m.lagging || m.next == 0 || m.next > s.Pos || c.last:
		case m.next < s.Pos || h.full(c):
			m.lag(t.end)
			if !h.full(c) {
				h.catchUp(c)
			}
		default:
			m.next = s.Pos + 1
			h.give(m, rec)
		}
	}
}

// Fetched answers Fetch: messages in the order of their positions, from that one on; first is the first that
// is kept. It takes the frames over.
func (l *SiteLoop) Fetched(group uint32, from, first uint64, msgs []Stored) {
	h := l.s.h
	g := h.groups[group]
	d := g.durable()
	if d == nil {
		return
	}
	d.fetching = false
	recs := make([][]byte, len(msgs))
	for i := range msgs {
		recs[i] = h.record(group, &msgs[i])
	}
	for _, m := range g.members {
		if m.lagging && m.next >= from && !m.c.last {
			h.feed(m, first, msgs, recs)
		}
	}
	h.serveDurable(g)
}

// feed gives m what was fetched, while there is room, and tells it what is no longer kept.
func (h *hub) feed(m *member, first uint64, msgs []Stored, recs [][]byte) {
	skip := func(to uint64) {
		if to > m.next {
			h.lose(m.c, m.g.num, to-m.next)
			m.g.dropped += to - m.next
			m.next = to
		}
	}
	for i := range msgs {
		switch {
		case msgs[i].Pos < m.next:
			continue
		case h.full(m.c):
			return
		}
		skip(msgs[i].Pos)
		m.next++
		h.give(m, recs[i])
	}
	if len(msgs) == 0 {
		skip(first)
	}
}

// sendDurable gives a message to the store. It returns false when c must wait.
func (h *hub) sendDurable(c *conn, hd *frame.Header, fr []byte, num uint32) (*connector.Error, bool) {
	switch {
	case c.proxy: // its own host gives it to the store
		return connector.ErrNotSupported, true
	case h.site == nil && h.willJoin:
		return connector.ErrWouldBlock, true
	case h.site == nil:
		return connector.ErrNotSupported, true
	}
	send := *hd
	send.Group = num
	send.Flags &^= frame.FlagAgent
	err, ok := h.site.forward(c, storeHost, stopKey{group: num}, &send, fr)
	if err == nil && ok && hd.Flags&frame.FlagAck != 0 {
		h.site.awaitAck(storeHost, pendingAck{c: c, tag: hd.Tag})
	}
	return err, ok
}

// fireDurable gives a notification of this broker's to the store.
func (h *hub) fireDurable(num uint32, m connector.Message) {
	if h.site == nil {
		return
	}
	fr, _ := m.AppendNative(make([]byte, frame.HeaderLen), 0) // it has no data
	hd := frame.Header{Len: uint32(len(fr)), Type: frame.Send, Group: num}
	hd.Put(fr)
	want, _ := h.durableHistory(num)
	h.site.busy = true
	h.site.up.Append(num, want, connector.SitePort(h.site.host, 0), h.self, fr)
}

// earlyJoin is a Join at a position that came before it was known which groups are durable.
type earlyJoin struct {
	c     *conn
	hd    frame.Header
	epoch uint64
}

// waitsForSite keeps such a Join, unless the position is one of this broker's own histories.
func (h *hub) waitsForSite(c *conn, hd *frame.Header, epoch uint64) bool {
	g := h.groups[hd.Group]
	if h.site != nil || !h.willJoin || epoch == 0 || g != nil && g.hist != nil || len(h.earlyJoin) >= earlyDefines {
		return false
	}
	h.earlyJoin = append(h.earlyJoin, earlyJoin{c: c, hd: *hd, epoch: epoch})
	return true
}

// earlyDefine is a History for all hosts that came before there were any.
type earlyDefine struct {
	c    *conn
	hd   frame.Header
	want connector.History
}

const earlyDefines = 1024

// defining reports whether a History of the group for all hosts is under way: what follows it goes after it.
func (h *hub) defining(group uint32) bool {
	return h.site != nil && len(h.site.defs[group]) > 0 ||
		slices.ContainsFunc(h.earlyDef, func(e earlyDefine) bool { return e.hd.Group == group })
}

// define is for a History that makes a group durable, or ends that.
func (h *hub) define(c *conn, hd *frame.Header, want connector.History) {
	bounded := want.Messages > 0 || want.Bytes > 0 || want.Age > 0
	switch {
	case h.site == nil && h.willJoin && len(h.earlyDef) < earlyDefines:
		h.earlyDef = append(h.earlyDef, earlyDefine{c: c, hd: *hd, want: want})
		return
	case h.site == nil && h.willJoin:
		h.answer(c, hd.Tag, connector.ErrWouldBlock, "too many histories wait for the site")
		return
	case h.site == nil:
		h.answer(c, hd.Tag, connector.ErrNotSupported, "this broker is not joined to others: no history can be durable")
		return
	case h.staysHome(hd.Group):
		h.answer(c, hd.Tag, connector.ErrInvalid, sprintf("group %d stays on its host: it cannot be durable", hd.Group))
		return
	case len(h.site.defs[hd.Group]) >= joinsWaiting:
		h.answer(c, hd.Tag, connector.ErrWouldBlock, "too many histories wait for the store")
		return
	case want.Durable && !bounded:
		h.answer(c, hd.Tag, connector.ErrInvalid, "a durable history needs a bound: messages, bytes or age")
		return
	case bounded && !want.Durable:
		h.answer(c, hd.Tag, connector.ErrInvalid, sprintf("the history of group %d is durable: end it before it is kept here", hd.Group))
		return
	}
	if !bounded {
		want = connector.History{}
	}
	s := h.site
	s.nextDef++
	s.defs[hd.Group] = append(s.defs[hd.Group], held{c: c, tag: hd.Tag, define: s.nextDef})
	s.busy = true
	s.up.Define(hd.Group, s.nextDef, want)
}

// Defined answers the Define with that tag.
func (l *SiteLoop) Defined(group, tag uint32, err *connector.Error, text string) {
	list := l.s.defs[group]
	i := slices.IndexFunc(list, func(w held) bool { return w.define == tag })
	if i < 0 {
		return
	}
	w := list[i]
	if l.s.defs[group] = slices.Delete(list, i, i+1); len(list) == 1 {
		delete(l.s.defs, group)
	}
	if !w.c.closed {
		l.s.h.answer(w.c, w.tag, err, text)
	}
}

// SetDurable says that a group is durable for the site, with those bounds, or with zero ones that it is not.
func (l *SiteLoop) SetDurable(group uint32, want connector.History) {
	s, h := l.s, l.s.h
	g := h.groups[group]
	if h.staysHome(group) {
		return
	}
	if want.Durable {
		s.durable[group] = want
		if g != nil {
			h.makeDurable(g, want)
		}
		h.interest(group)
		return
	}
	delete(s.durable, group)
	if _, still := h.durableHistory(group); still { // by the policy of this host: it begins anew
		if d := g.durable(); d != nil {
			*d = durable{later: append(d.waiting, d.later...)} // what is under way is not answered
			h.locate(g)
		}
		return
	}
	if d := g.durable(); d != nil {
		s.up.Read(group, 0)
		h.dropDurable(g)
		s.members(group, true)
		for _, w := range append(d.waiting, d.later...) {
			if !w.c.closed && !s.hold(group, w) {
				h.joined(w.m, w.tag, 0, 0)
			}
		}
	}
	h.interest(group)
}

// leaveDurable ends what waits for the store.
func (s *site) leaveDurable(why string) {
	h := s.h
	s.down(storeHost, why)
	for _, list := range s.defs {
		for _, w := range list {
			if !w.c.closed {
				h.answer(w.c, w.tag, connector.ErrInterrupted, why)
			}
		}
	}
	clear(s.defs)
	for _, g := range h.groups {
		d := g.durable()
		if d == nil {
			continue
		}
		waiting := append(d.waiting, d.later...)
		*d = durable{}
		h.refuseJoins(waiting, connector.ErrInterrupted, why)
	}
}
