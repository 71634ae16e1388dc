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
	acct  *account                // whose limit the store counts against; nil: the policy set it
	file  *histFile               // where the store is; nil: in memory
	end   connector.HistoryCursor // just before the newest message

	durable *durable // the site's store has it, and ring is the end of it; nil: it is this broker's

	start   uint64 // first position of this run: ports in earlier ones were others'
	cramped bool   // it could not grow, and that was logged
}

const (
	historyStart = 64 << 10 // first store; it grows up to what the bounds need
	historyMax   = 64 << 20 // most bytes of a history that is not bounded in bytes
)

// next is the position that the next message gets.
func (t *history) next() uint64 { return t.ring.Last() + 1 }

// storeMax is the largest store that the bounds can make use of, and at least
// the first one.
func storeMax(w connector.History) int { return max(storeWanted(w), historyStart) }

func storeWanted(w connector.History) int {
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
	if want.Durable {
		h.makeDurable(g, want)
		return ""
	}
	if g.durable() != nil {
		return "" // what the store keeps is the site's to end
	}
	if want == (connector.History{}) {
		if g.hist != nil {
			h.catchUpAll(g)
			h.uncharge(g.hist)
			g.hist.close()
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
		t, err := h.newHistory(g.num, want)
		if err != nil {
			h.log.Error("history", "group", g.num, "err", err)
			return err.Error()
		}
		g.hist = t
		for _, m := range g.members {
			m.next = t.next()
		}
	} else {
		h.uncharge(g.hist)
		g.hist.ring.SetBounds(h.now, want)
	}
	g.hist.want, g.hist.acct = want, acct
	if acct != nil {
		acct.history += size
	}
	g.hist.describe()
	return ""
}

// newHistory makes an empty history, in a file if there is a directory for it.
func (h *hub) newHistory(group uint32, want connector.History) (*history, error) {
	t := &history{epoch: h.instance + h.histories, start: 1} // positions begin anew, and so does their epoch
	h.histories++
	store := []byte(nil)
	if h.histDir != "" {
		f, err := createHist(h.histDir, group, historyStart)
		if err != nil {
			return nil, err
		}
		t.file, store = f, f.store()
	} else {
		store = make([]byte, historyStart)
	}
	t.ring = connector.NewHistoryRing(store, want)
	if t.file != nil {
		t.file.put(histEpoch, t.epoch)
		t.file.save(t.ring.State())
		if err := t.file.adopt(); err != nil {
			t.file.unmap()
			return nil, err
		}
	}
	return t, nil
}

// describe puts the bounds and the owner into the file.
func (t *history) describe() {
	if t.file == nil {
		return
	}
	t.file.setBounds(t.want)
	if t.acct != nil {
		t.file.setOwner(&t.acct.uid)
	} else {
		t.file.setOwner(nil)
	}
	t.file.save(t.ring.State())
}

// close ends the history for good.
func (t *history) close() {
	if t.file != nil {
		t.file.remove()
	}
}

func (h *hub) uncharge(t *history) {
	if t.acct != nil {
		t.acct.history -= int64(storeMax(t.want))
	}
}

// remember appends the stamped message fr to g's history.
func (h *hub) remember(g *group, fr []byte) {
	t := g.hist
	before := t.ring.State()
	if !t.ring.MakeRoom(h.now, len(fr)) {
		if t.ring.StoreLen() < storeMax(t.want) {
			h.growHistory(g.num, t)
		}
		t.ring.Reserve(h.now, len(fr))
	}
	if t.file != nil && t.ring.State() != before {
		t.file.save(t.ring.State()) // before what it no longer names is overwritten
	}
	t.end = t.ring.End()
	t.ring.AppendReserved(h.now, fr)
	if t.file != nil {
		t.file.save(t.ring.State())
	}
}

// growHistory doubles the store. Without room for that the history stays as
// long as it is: the oldest goes earlier.
func (h *hub) growHistory(group uint32, t *history) {
	size := min(2*t.ring.StoreLen(), storeMax(t.want))
	if t.file == nil {
		t.ring.Grow(make([]byte, size))
		return
	}
	f, err := createHist(h.histDir, group, size)
	if err != nil {
		if !t.cramped {
			t.cramped = true
			h.log.Warn("a history cannot grow", "group", group, "err", err)
		}
		return
	}
	old := t.file
	f.put(histEpoch, t.epoch)
	t.ring.Grow(f.store())
	t.file = f
	t.describe()
	if err := f.adopt(); err != nil {
		h.log.Error("history", "group", group, "err", err)
	}
	old.unmap()
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
	for i := 0; i < len(c.lagging) && !h.full(c); {
		m := c.lagging[i]
		if !h.catchUpMember(m) {
			i++ // it is full, or waits for the store
			continue
		}
		m.lagging = false
		c.lagging = append(c.lagging[:i], c.lagging[i+1:]...)
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
	if t.durable != nil {
		return h.catchUpDurable(m)
	}
	t.ring.Evict(h.now)
	for !h.full(c) {
		msg, pos, lost := t.ring.Read(&m.cur)
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
		if native.Uint32(msg[8:]) != c.port || pos < t.start { // its own messages do not come back
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
