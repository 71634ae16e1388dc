package loopback

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cnbus/cnbus/connector"
)

// history is the history of a group: the messages' netlink bytes, with the sender's
// port as nlmsg_pid.
type history struct {
	ring    *connector.HistoryRing
	epoch   uint64
	scratch []byte
}

const historyStart = 16 << 10 // bytes of a new history's memory

// SetHistory implements connector.HistoryBus. A larger history keeps what the
// old one had; the same positions go on. Without bounds the history is thrown away; members that
// have not read it are told how much they lost.
func (b *Bus) SetHistory(ctx context.Context, number uint32, bounds connector.History) error {
	fail := func(err error) error { return &connector.OpError{Op: "history", Group: number, Err: err} }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	mine := slices.ContainsFunc(h.registry.Group(number), func(e *connector.Entry) bool { return e.Tag().(*callback).bus == b })
	switch {
	case b.closed.Load():
		return fail(connector.ErrClosed)
	case number == 0 || bounds.Messages < 0 || bounds.Bytes < 0 || bounds.Age < 0:
		return fail(fmt.Errorf("group %d, bounds %+v: %w", number, bounds, connector.ErrInvalid))
	case bounds.Durable:
		return fail(fmt.Errorf("there is no site whose store could keep it: %w", connector.ErrNotSupported))
	case !mine:
		return fail(fmt.Errorf("no callback of this bus has the group: %w", connector.ErrPermission))
	}
	g := h.ensure(number)
	g.setHistory(bounds)
	h.forget(g)
	return nil
}

func (g *group) setHistory(bounds connector.History) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case bounds == connector.History{}:
		if g.history != nil {
			for _, m := range *g.members.Load() {
				g.give(m, true)
			}
		}
		g.history = nil
	case g.history == nil:
		size := min(historyStart, g.hub.config.HistoryBytes)
		g.history = &history{ring: connector.NewHistoryRing(make([]byte, size), bounds), epoch: rand.Uint64() | 1}
	default:
		g.history.ring.SetBounds(g.hub.now(), bounds)
	}
	g.keeps.Store(g.history != nil)
}

func (g *group) epoch() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.history == nil {
		return 0
	}
	return g.history.epoch
}

// seek makes a new member begin at a position, mu held.
func (g *group) seek(m *member, at connector.Position) {
	q := &m.endpoint.queue
	if at == (connector.Position{}) && g.history == nil {
		return
	}
	if at != (connector.Position{}) && (g.history == nil || g.history.epoch != at.Epoch) {
		q.mu.Lock()
		q.lose(g.number, 0, true)
		q.mu.Unlock()
		at = connector.Position{}
	}
	if g.history == nil {
		return
	}
	r := g.history.ring
	r.Evict(g.hub.now())
	if at == (connector.Position{}) {
		at.Pos = r.First() - 1
	}
	if m.cursor = r.Seek(at.Pos); m.cursor.Next() <= r.Last() {
		m.lag(g.history)
		g.give(m, false)
	}
}

// lag makes the member get its messages from the history, group.mu held.
func (m *member) lag(from *history) {
	m.lagging = from
	q := &m.endpoint.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.lagging = append(q.lagging, m)
		wake(q.wake)
	}
}

// publish is send for a group with a history. It reports false when there is none any more.
func (g *group) publish(s *sender, m *connector.Message, from *connector.From, full connector.WhenFull) (done bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for full == connector.FullWait {
		w, q := g.behind(m.Size(), from.Port)
		if w == nil {
			break
		}
		g.mu.Unlock()
		err := q.await(s, w)
		g.mu.Lock()
		if err != nil && err != connector.ErrNoPort {
			return true, err
		}
	}
	if g.history == nil {
		return false, nil
	}
	pos := g.history.append(g.hub, m, from.Port)
	for _, to := range *g.members.Load() {
		if to.lagging != nil || to.endpoint.port == from.Port {
			continue
		}
		if !to.endpoint.queue.offer(m, from, pos) {
			to.cursor = g.history.ring.Seek(pos - 1)
			to.lag(g.history)
		}
	}
	return true, nil
}

// behind returns a waiter for the first member that has no room for n bytes, mu held.
func (g *group) behind(n int, sender uint32) (*queueWaiter, *queue) {
	for _, to := range *g.members.Load() {
		if to.endpoint.port == sender {
			continue
		}
		q := &to.endpoint.queue
		q.mu.Lock()
		if !q.closed && !to.gone.Load() && (to.lagging != nil || !q.room(n)) {
			w := q.waiter(nil, nil)
			q.mu.Unlock()
			return w, q
		}
		q.mu.Unlock()
	}
	return nil, nil
}

// append keeps a message and returns its position, group.mu held.
func (y *history) append(h *Hub, m *connector.Message, port uint32) uint64 {
	y.scratch, _ = m.AppendNative(y.scratch[:0], port) // its size was checked
	now := h.now()
	for !y.ring.MakeRoom(now, len(y.scratch)) {
		size := min(2*y.ring.StoreLen(), h.config.HistoryBytes)
		if size <= y.ring.StoreLen() {
			break // the oldest go
		}
		y.ring.Grow(make([]byte, size))
	}
	return y.ring.Append(now, y.scratch, nil)
}

// offer puts a message in the queue if it has room, and counts nothing if not. A closed queue
// takes everything.
func (q *queue) offer(m *connector.Message, from *connector.From, pos uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true
	}
	if q.isFull(m.Size()) {
		return false
	}
	q.push(m, from, pos)
	return true
}

// catchUp moves messages from the histories into the empty queue of e.
func (e *Endpoint) catchUp() {
	q := &e.queue
	q.mu.Lock()
	lagging := slices.Clone(q.lagging)
	q.mu.Unlock()
	for _, m := range lagging {
		m.group.mu.Lock()
		m.group.give(m, false)
		m.group.mu.Unlock()
	}
}

// give moves messages of a lagging member from the history into its queue until that is half full, mu
// held. With last, what does not fit is counted as lost, because the history ends.
func (g *group) give(m *member, last bool) {
	if m.lagging == nil {
		return
	}
	q := &m.endpoint.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	r := m.lagging.ring
	r.Evict(g.hub.now())
	end := r.Last()
	if m.end != 0 {
		end = m.end // it has left
	}
	for m.cursor.Next() <= end {
		if 2*q.messages > q.maxMessages || 2*q.bytes > q.maxBytes {
			if !last {
				return
			}
			q.lose(g.number, end+1-m.cursor.Next(), false)
			break
		}
		at := m.cursor.Next()
		bytes, pos, lost := r.Read(&m.cursor)
		if lost > 0 {
			q.lose(g.number, min(at+lost-1, end)+1-at, false)
			continue
		}
		msg, err := connector.ParseExact(bytes)
		port := nlmsgPID(bytes)
		if err != nil || port == m.endpoint.port {
			continue // its own; what append wrote can be parsed
		}
		q.push(&msg, &connector.From{Port: port, Group: g.number, Cred: g.hub.cred}, pos)
	}
	m.lagging = nil
	q.lagging = slices.DeleteFunc(q.lagging, func(o *member) bool { return o == m })
	q.grant() // who waits for this member may find that it has room
}

// nlmsgPID reads the nlmsg_pid of netlink bytes, in which append keeps the sender's port.
func nlmsgPID(b []byte) uint32 { return binary.NativeEndian.Uint32(b[12:]) }
