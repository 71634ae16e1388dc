package bustest

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var modelTests = []test{
	{
		name: "random conversations go as on a bus that does one thing at a time",
		need: func(c Caps) bool { return c.Registry && c.NoID && c.NoListener && c.NoPort },
		run: func(e *env) {
			rapid.Check(e.T, func(t *rapid.T) {
				m := newModel(e, t)
				defer m.close()
				t.Repeat(m.actions())
				m.finish(t)
			})
		},
	},
}

// model is a slow, obviously correct bus, and beside it the real one, to which
// it does the same. Every real operation is confirmed before the next, so
// that what arrives where, and in which order, is determined.
type model struct {
	e    *env
	ctx  context.Context // of this conversation: there are many, each with patience of its own
	end  context.CancelFunc
	site Site

	buses []connector.Bus
	ids   map[cbid.ID]*modelID
	eps   []*modelEndpoint
	sent  uint64 // number of the last message

	// The history of group(0), set once; nil when the carrier has none.
	history *modelHistory

	watcher connector.Watcher // from the beginning on; nil when the carrier has none
	view    *view             // what the watcher was told
}

type modelID struct {
	bus   int
	calls chan uint64 // numbers of the messages that the real callback got
}

type modelEndpoint struct {
	real   connector.Endpoint
	groups map[uint32]bool
	queue  []modelEvent // what Recv must return, in this order
	kept   []modelEvent // the same of the group with the history: among the others in any place
}

type modelEvent struct {
	number uint64 // of the message; 0 for a loss
	from   uint32 // port, 0 for any
	group  uint32
	pos    uint64
	lost   uint64
}

const modelHistoryLen = 6

type modelHistory struct {
	epoch uint64
	last  uint64
	kept  []modelEvent
}

func newModel(e *env, t *rapid.T) *model {
	m := &model{e: e, site: e.carrier.New(e.T, SiteOptions{}), ids: make(map[cbid.ID]*modelID)}
	m.ctx, m.end = context.WithTimeout(context.Background(), e.carrier.Patience)
	for range 3 {
		m.buses = append(m.buses, m.site.Bus(e.T, BusOptions{Name: "model"}))
	}
	m.open(t, 0)
	m.open(t, 1)
	if e.carrier.Caps.Watch {
		w, err := connector.Watch(m.ctx, m.buses[1], nil)
		require.NoError(t, err)
		m.watcher, m.view = w, newView()
	}
	if e.carrier.Caps.History {
		permanent := id(0, 1000)
		m.register(t, 0, permanent)
		require.NoError(t, connector.SetHistory(m.ctx, m.buses[0], group(0), connector.History{Messages: modelHistoryLen}))
		m.join(t, 0, group(0)) // endpoint 0 never leaves: a group without members refuses messages
		m.history = &modelHistory{epoch: epoch(m.eps[0].real)}
		require.NotZero(t, m.history.epoch)
	}
	return m
}

func (m *model) close() {
	for _, b := range m.buses {
		if err := b.Close(); err != nil {
			m.e.Errorf("close: %v", err)
		}
	}
	m.site.Close()
	m.end()
}

// message returns the next message and its number.
func (m *model) message(id cbid.ID) (connector.Message, uint64) {
	m.sent++
	return connector.Message{ID: id, Data: binary.LittleEndian.AppendUint64(nil, m.sent)}, m.sent
}

func (m *model) register(t *rapid.T, bus int, id cbid.ID) {
	entry := &modelID{bus: bus, calls: make(chan uint64, 1000)}
	err := m.buses[bus].AddCallback(m.ctx, id, "model", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		n := binary.LittleEndian.Uint64(d.Msg.Data)
		entry.calls <- n
		if d.Call {
			if err := d.Reply(ctx, binary.LittleEndian.AppendUint64(nil, n+1<<32)); err != nil {
				m.e.Errorf("reply: %v", err)
			}
		}
	}))
	if m.ids[id] != nil {
		require.ErrorIs(t, err, connector.ErrDuplicate)
		return
	}
	require.NoError(t, err)
	m.ids[id] = entry
}

func (m *model) open(t *rapid.T, bus int) {
	ep, err := m.buses[bus].Endpoint(m.ctx)
	require.NoError(t, err)
	m.eps = append(m.eps, &modelEndpoint{real: ep, groups: make(map[uint32]bool)})
}

func (m *model) join(t *rapid.T, i int, g uint32) {
	require.NoError(t, m.eps[i].real.Join(m.ctx, g))
	m.eps[i].groups[g] = true
}

// multicast is what the bus does with message n to g. It reports whether there
// was a listener.
func (m *model) multicast(n uint64, g, from uint32) bool {
	ev := modelEvent{number: n, from: from, group: g}
	if h := m.history; h != nil && g == group(0) {
		h.last++
		ev.pos = h.last
		h.kept = append(h.kept, ev)
		h.kept = h.kept[max(0, len(h.kept)-modelHistoryLen):]
	}
	heard := false
	for _, ep := range m.eps {
		if ep.groups[g] && (from == 0 || ep.real.Port() != from) {
			heard = true
			if ev.pos != 0 {
				ep.kept = append(ep.kept, ev)
			} else {
				ep.queue = append(ep.queue, ev)
			}
		}
	}
	return heard
}

func (m *model) pick(t *rapid.T, label string) int {
	return rapid.IntRange(0, len(m.eps)-1).Draw(t, label)
}

func modelGroup(t *rapid.T) uint32 { return group(rapid.IntRange(0, 2).Draw(t, "group")) }

func modelPickID(t *rapid.T) cbid.ID {
	return id(rapid.IntRange(0, 2).Draw(t, "idx"), rapid.IntRange(1, 2).Draw(t, "val"))
}
func (m *model) pickBus(t *rapid.T) int { return rapid.IntRange(0, len(m.buses)-1).Draw(t, "bus") }

// called checks that the callback of entry got message n, and nothing before it.
func (m *model) called(t *rapid.T, entry *modelID, n uint64) {
	select {
	case got := <-entry.calls:
		require.Equal(t, n, got)
	case <-m.ctx.Done():
		require.Fail(t, "no callback")
	}
}

func (m *model) recv(t *rapid.T, ep *modelEndpoint) {
	ev, err := ep.real.Recv(m.ctx)
	require.NoError(t, err)
	got := modelEvent{group: ev.From.Group, pos: ev.Pos, lost: ev.Lost}
	if ev.Kind == connector.EventMessage {
		got.number = binary.LittleEndian.Uint64(ev.Msg.Data)
	}
	queue := &ep.queue
	if m.history != nil && got.group == group(0) {
		if queue = &ep.kept; got.lost > 0 {
			m.lost(t, ep, got.lost)
			return
		}
	}
	require.NotEmpty(t, *queue, "%v %+v that nobody sent", ev.Kind, got)
	want := (*queue)[0]
	*queue = (*queue)[1:]
	if want.from != 0 {
		got.from = ev.From.Port
	}
	require.Equal(t, want, got, "an event %v", ev.Kind)
}

// lost checks that n messages of the group with the history were lost at ep: before
// it joined, or because they were evicted before it read them.
func (m *model) lost(t *rapid.T, ep *modelEndpoint, n uint64) {
	for n > 0 {
		require.NotEmpty(t, ep.kept, "%d too many are told to be lost", n)
		head := &ep.kept[0]
		if head.lost > n {
			head.lost -= n
			return
		}
		if head.lost == 0 {
			require.LessOrEqual(t, head.pos, m.history.last-uint64(len(m.history.kept)), "message %d is told to be lost, but kept", head.number)
		}
		n -= max(1, head.lost)
		ep.kept = ep.kept[1:]
	}
}

func (m *model) actions() map[string]func(*rapid.T) {
	a := map[string]func(*rapid.T){
		"register": func(t *rapid.T) { m.register(t, m.pickBus(t), modelPickID(t)) },
		"remove": func(t *rapid.T) {
			bus, id := m.pickBus(t), modelPickID(t)
			err := m.buses[bus].DelCallback(m.ctx, id)
			if entry := m.ids[id]; entry != nil && entry.bus == bus {
				require.NoError(t, err)
				delete(m.ids, id)
			} else {
				require.ErrorIs(t, err, connector.ErrNoID)
			}
		},
		"open": func(t *rapid.T) {
			if len(m.eps) == 6 {
				t.Skip("enough")
			}
			m.open(t, m.pickBus(t))
		},
		"close": func(t *rapid.T) {
			i := m.pick(t, "endpoint")
			if i == 0 {
				t.Skip("this one stays")
			}
			ep := m.eps[i]
			require.NoError(t, ep.real.Close())
			m.eps = slices.Delete(m.eps, i, i+1)
			for m.buses[0].Send(m.ctx, connector.Message{}, to(ep.real.Port())) == nil {
				runtime.Gosched() // until the whole bus knows
			}
		},
		"join": func(t *rapid.T) { m.join(t, m.pick(t, "endpoint"), modelGroup(t)) },
		"leave": func(t *rapid.T) {
			i, g := m.pick(t, "endpoint"), modelGroup(t)
			if i == 0 && g == group(0) {
				t.Skip("this one stays")
			}
			require.NoError(t, m.eps[i].real.Leave(m.ctx, g))
			delete(m.eps[i].groups, g)
		},
		"unicast": func(t *rapid.T) {
			from, dest := m.eps[m.pick(t, "from")], m.eps[m.pick(t, "to")]
			msg, n := m.message(modelPickID(t))
			require.NoError(t, from.real.Send(m.ctx, msg, to(dest.real.Port())))
			dest.queue = append(dest.queue, modelEvent{number: n, from: from.real.Port()})
		},
		"multicast": func(t *rapid.T) {
			from, g := m.eps[m.pick(t, "from")], modelGroup(t)
			if m.history != nil && g == group(0) {
				t.Skip("only agents send to the group with the history")
			}
			msg, n := m.message(modelPickID(t))
			err := from.real.Send(m.ctx, msg, toGroup(g))
			m.outcome(t, err, m.multicast(n, g, from.real.Port()))
		},
		"an agent multicasts": func(t *rapid.T) {
			g := modelGroup(t)
			msg, n := m.message(modelPickID(t))
			err := m.buses[m.pickBus(t)].Send(m.ctx, msg, toGroup(g))
			m.outcome(t, err, m.multicast(n, g, 0))
		},
		"an agent multicasts by lookup": func(t *rapid.T) {
			id := modelPickID(t)
			msg, n := m.message(id)
			err := m.buses[m.pickBus(t)].Send(m.ctx, msg, toID)
			if m.ids[id] == nil {
				require.ErrorIs(t, err, connector.ErrNoID)
				return
			}
			m.outcome(t, err, m.multicast(n, id.Idx, 0))
		},
		"to an id": func(t *rapid.T) {
			id := modelPickID(t)
			msg, n := m.message(id)
			err := m.eps[m.pick(t, "from")].real.Send(m.ctx, msg, toID)
			if m.ids[id] == nil {
				require.ErrorIs(t, err, connector.ErrNoID)
				return
			}
			require.NoError(t, err)
			m.called(t, m.ids[id], n)
		},
		"call": func(t *rapid.T) {
			id := modelPickID(t)
			msg, n := m.message(id)
			ev, err := m.eps[m.pick(t, "from")].real.Call(m.ctx, msg, toID)
			if m.ids[id] == nil {
				require.ErrorIs(t, err, connector.ErrNoID)
				return
			}
			require.NoError(t, err)
			require.Equal(t, n+1<<32, binary.LittleEndian.Uint64(ev.Msg.Data))
			m.called(t, m.ids[id], n)
		},
		"receive": func(t *rapid.T) {
			ep := m.eps[m.pick(t, "endpoint")]
			if len(ep.queue)+len(ep.kept) == 0 {
				t.Skip("nothing to receive")
			}
			m.recv(t, ep)
		},
	}
	if m.watcher != nil {
		a["watch a little"] = func(t *rapid.T) {
			if !m.view.marked {
				m.watch(t) // until the marker there is always something to be told
			}
		}
	}
	if m.history != nil {
		a["join at a position"] = m.joinAt
	}
	return a
}

func (m *model) watch(t *rapid.T) {
	c, err := m.watcher.Next(m.ctx)
	require.NoError(t, err)
	m.view.apply(t, c)
}

// watched checks that the watcher was told the truth.
func (m *model) watched(t *rapid.T) {
	for val := range 2 { // after the first the watcher follows, so that the second comes behind all else
		end := id(9, val)
		m.register(t, 0, end)
		for !m.view.marked || !m.view.has(end)() {
			m.watch(t)
		}
	}
	require.Len(t, m.view.infos, len(m.ids))
	for id := range m.ids {
		require.Contains(t, m.view.infos, id)
	}
}

// joinAt resumes the group with the history at any position of the past.
func (m *model) joinAt(t *rapid.T) {
	i := m.pick(t, "endpoint")
	ep, h := m.eps[i], m.history
	if ep.groups[group(0)] {
		t.Skip("a member already")
	}
	pos := rapid.Uint64Range(0, h.last).Draw(t, "position")
	require.NoError(t, connector.JoinAt(m.ctx, ep.real, group(0), connector.Position{Epoch: h.epoch, Pos: pos}))
	ep.groups[group(0)] = true
	if gone := h.last - uint64(len(h.kept)); pos < gone {
		ep.kept = append(ep.kept, modelEvent{group: group(0), lost: gone - pos})
		pos = gone
	}
	for _, ev := range h.kept {
		if ev.pos > pos {
			ep.kept = append(ep.kept, ev)
		}
	}
}

func (m *model) outcome(t *rapid.T, err error, heard bool) {
	if heard {
		require.NoError(t, err)
	} else {
		require.ErrorIs(t, err, connector.ErrNoListener)
	}
}

// finish reads what is left and checks that nothing is over.
func (m *model) finish(t *rapid.T) {
	for _, ep := range m.eps {
		for len(ep.queue)+len(ep.kept) > 0 {
			m.recv(t, ep)
		}
		m.sent++
		end := connector.Message{ID: id(9, 9), Data: binary.LittleEndian.AppendUint64(nil, m.sent)}
		require.NoError(t, m.buses[0].Send(m.ctx, end, to(ep.real.Port())))
		ep.queue = append(ep.queue, modelEvent{number: m.sent})
		m.recv(t, ep)
	}
	if m.watcher != nil {
		m.watched(t)
	}
	for id, entry := range m.ids {
		require.Empty(t, entry.calls, fmt.Sprint(id))
	}
}
