package broker

import (
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// history is what a group keeps: whole Msg frames, stamped, so that they can
// be copied to a late member as they are.
type history struct {
	ring  *connector.HistoryRing
	epoch uint64
	want  connector.History
	acct  *account // whose limit the store counts against; nil: the policy set it
	hdr   [frame.HeaderLen]byte
	end   connector.HistoryCursor // just before the newest message
}

const (
	historyStart = 64 << 10 // first store; it grows up to what the bounds need
	historyMax   = 64 << 20 // most bytes of a history that is not bounded in bytes
)

// next is the position that the next message gets.
func (t *history) next() uint64 { return t.ring.Last() + 1 }

// storeMax is the largest store that the bounds can make use of.
func storeMax(w connector.History) int {
	bytes := w.Bytes
	if bytes == 0 {
		bytes = historyMax
	}
	perMsg := connector.HistorySize(frame.HeaderLen + connector.HeaderLen)
	if w.Messages > 0 && w.Messages < bytes/frame.MaxLen {
		return w.Messages * connector.HistorySize(frame.MaxLen)
	}
	// Small messages have more overhead than their bytes tell.
	return bytes + bytes/(frame.HeaderLen+connector.HeaderLen)*(perMsg-frame.HeaderLen-connector.HeaderLen) + frame.MaxLen
}

// setHistory gives g a history or changes or ends it. A text says which limit
// forbids it.
func (h *hub) setHistory(g *group, want connector.History, acct *account) (why string) {
	if want == (connector.History{}) {
		if g.hist != nil {
			h.catchUpAll(g)
			h.uncharge(g.hist)
			g.hist = nil
		}
		if len(g.members) == 0 {
			delete(h.groups, g.num)
		}
		return ""
	}
	size := int64(storeMax(want))
	if acct != nil {
		free := acct.limits.HistoryBytes - acct.history
		if g.hist != nil && g.hist.acct == acct {
			free += int64(storeMax(g.hist.want))
		}
		if acct.limits.HistoryBytes >= 0 && size > free {
			if g.hist == nil && len(g.members) == 0 {
				delete(h.groups, g.num)
			}
			return acct.exceed("bytes of history", acct.limits.HistoryBytes)
		}
	}
	if g.hist == nil {
		g.hist = &history{
			ring:  connector.NewHistoryRing(make([]byte, historyStart), want),
			epoch: h.instance,
		}
		for _, m := range g.members {
			m.next = g.hist.next()
		}
	} else {
		h.uncharge(g.hist)
		g.hist.ring.SetBounds(h.now, want)
	}
	g.hist.want, g.hist.acct = want, acct
	if acct != nil {
		acct.history += size
	}
	return ""
}

func (h *hub) uncharge(t *history) {
	if t.acct != nil {
		t.acct.history -= int64(storeMax(t.want))
	}
}

// remember appends the Send fr to g's history and returns its position.
func (h *hub) remember(g *group, port uint32, cred connector.Cred, fr []byte) uint64 {
	t := g.hist
	hd := msgHeader(port, cred, len(fr), 0, g.num, t.next())
	hd.Put(t.hdr[:])
	if !t.ring.MakeRoom(h.now, len(fr)) {
		if size := min(2*t.ring.StoreLen(), storeMax(t.want)); size > t.ring.StoreLen() {
			t.ring.Grow(make([]byte, size))
		}
	}
	t.end = t.ring.Seek(t.ring.Last())
	return t.ring.Append(h.now, t.hdr[:], fr[frame.HeaderLen:])
}

// rewind makes m start after pos of epoch, and tells what is gone.
func (h *hub) rewind(m *member, epoch, pos uint64) {
	t := m.g.hist
	switch {
	case epoch == t.epoch && pos < t.next():
		m.next = pos + 1
	case epoch == 0 && pos == 0:
		m.next = t.ring.First()
	default:
		// Another run of the broker gave that position: what was published
		// between is not known to this one.
		h.control(m.c, frame.Header{Type: frame.Lost, Flags: frame.FlagUnknown, Group: m.g.num})
		m.next = t.ring.First()
	}
	if m.lagging {
		m.cur = t.ring.Seek(m.next - 1)
	} else if m.next < t.next() {
		m.lag(t.ring.Seek(m.next - 1))
	}
	if m.lagging && m.c.out.len() <= h.tune.queue/2 && !m.c.spared() {
		h.catchUp(m.c)
	}
}

// catchUp copies from the histories what c has not got, while there is room.
func (h *hub) catchUp(c *conn) {
	for len(c.lagging) > 0 && !h.full(c) {
		m := c.lagging[0]
		if h.catchUpMember(m) {
			m.lagging = false
			c.lagging = append(c.lagging[:0], c.lagging[1:]...)
		}
	}
}

// lag makes m get its messages from the history, from cur on.
func (m *member) lag(cur connector.HistoryCursor) {
	m.cur, m.lagging = cur, true
	m.c.lagging = append(m.c.lagging, m)
}

// catchUpMember returns true when m has all.
func (h *hub) catchUpMember(m *member) bool {
	t, c := m.g.hist, m.c
	t.ring.Evict(h.now)
	for !h.full(c) {
		msg, _, lost := t.ring.Read(&m.cur)
		if lost > 0 {
			h.lose(c, m.g.num, lost)
			m.g.dropped += lost
			continue
		}
		m.next = m.cur.Next()
		if msg == nil {
			if len(c.lost) > 0 {
				h.tellLost(c)
			}
			return true
		}
		if native.Uint32(msg[8:]) != c.port { // its own messages do not come back
			if len(c.lost) > 0 {
				h.tellLost(c)
			}
			copy(h.append(c, len(msg)), msg)
			c.stat.Delivered++
			h.stats.Delivered++
		}
	}
	return false
}

// catchUpAll ends the lag of g's members when its history ends: what a full
// one did not get is lost.
func (h *hub) catchUpAll(g *group) {
	for _, m := range g.members {
		if !m.lagging {
			continue
		}
		if !h.catchUpMember(m) {
			n := g.hist.next() - m.next
			h.lose(m.c, g.num, n)
			g.dropped += n
		}
		m.lagging = false
		m.c.dropLagging(m)
	}
}
