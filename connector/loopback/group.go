package loopback

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
)

// group is a multicast group that has members, or a history.
type group struct {
	number  uint32
	members atomic.Pointer[[]*member] // never nil; changed under Hub.mu, with mu
	hub     *Hub

	mu      sync.Mutex  // guards history, and makes its messages one sequence at all members
	history *history    // nil if none is kept
	keeps   atomic.Bool // history is not nil
}

// member is an endpoint in a group.
type member struct {
	endpoint *Endpoint
	group    *group
	gone     atomic.Bool // it has left

	// Guarded by group.mu. A member with lagging set gets nothing in its queue: its messages are
	// in that history, from cursor on, up to end if it has left.
	lagging *history
	cursor  connector.HistoryCursor
	end     uint64
}

func (h *Hub) group(number uint32) *group {
	h.routes.RLock()
	defer h.routes.RUnlock()
	return h.groups[number]
}

// listening reports whether the group has members, mu held.
func (h *Hub) listening(number uint32) bool {
	g := h.group(number)
	return g != nil && len(*g.members.Load()) > 0
}

// ensure returns the group, mu held.
func (h *Hub) ensure(number uint32) *group {
	h.routes.Lock()
	defer h.routes.Unlock()
	g := h.groups[number]
	if g == nil {
		g = &group{number: number, hub: h}
		g.members.Store(new([]*member))
		h.groups[number] = g
	}
	return g
}

// forget lets go of a group without members and history, mu held.
func (h *Hub) forget(g *group) {
	if len(*g.members.Load()) == 0 && !g.keeps.Load() {
		h.routes.Lock()
		delete(h.groups, g.number)
		h.routes.Unlock()
	}
}

// join makes e a member, at a position of the history if at is given, mu held.
func (h *Hub) join(e *Endpoint, number uint32, at *connector.Position) *member {
	g := h.ensure(number)
	m := &member{endpoint: e, group: g}
	g.mu.Lock()
	if at != nil {
		g.seek(m, *at)
	}
	members := append(slices.Clone(*g.members.Load()), m)
	g.members.Store(&members)
	g.mu.Unlock()
	if len(members) == 1 {
		h.interest(number, true)
	}
	return m
}

// leave ends a membership, mu held.
func (h *Hub) leave(m *member) {
	g := m.group
	g.mu.Lock()
	members := slices.DeleteFunc(slices.Clone(*g.members.Load()), func(o *member) bool { return o == m })
	g.members.Store(&members)
	if m.lagging != nil {
		m.end = m.lagging.ring.Last() // what was sent until now it still gets
	}
	g.mu.Unlock()
	m.gone.Store(true)
	m.endpoint.queue.left(g.number)
	if len(members) == 0 {
		h.interest(g.number, false)
		h.forget(g)
	}
}

// interest tells the callbacks of the group, mu held.
func (h *Hub) interest(number uint32, listening bool) {
	for _, e := range h.registry.Group(number) {
		e.Tag().(*callback).interest(listening)
	}
}

// multicast sends to the members of to.Group other than the sender.
func (h *Hub) multicast(s *sender, m *connector.Message, from *connector.From, to connector.Dest) error {
	from.Group = to.Group
	g := h.group(to.Group)
	err := error(connector.ErrNoListener)
	if g != nil {
		err = g.send(s, m, from, to.Full)
	}
	if err != nil {
		return sendError(m, to, err)
	}
	return nil
}

// send gives m to the members other than the one whose port from has. An
// error is a sentinel or the context's.
func (g *group) send(s *sender, m *connector.Message, from *connector.From, full connector.WhenFull) error {
	if g.keeps.Load() {
		if done, err := g.publish(s, m, from, full); done {
			return err
		}
	}
	var failed error
	heard := false
	for _, to := range *g.members.Load() {
		e := to.endpoint
		if e.port == from.Port {
			continue
		}
		heard = true
		if full == connector.FullWait && failed == nil {
			switch err := e.queue.wait(s, m, from, &to.gone); err {
			case nil, connector.ErrNoPort: // who closes needs nothing more
				continue
			default:
				failed = err // the rest gets what it has room for, or is told
			}
		}
		if e.queue.put(m, from, 0) == putFull {
			g.hub.stats.dropped.Add(1)
		}
	}
	switch {
	case failed != nil:
		return failed
	case !heard:
		return connector.ErrNoListener
	}
	return nil
}
