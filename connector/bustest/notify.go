package bustest

import (
	"encoding/binary"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func notifyCap(c Caps) bool { return c.Registry && c.Notify }

// ctl is the data of a request to the control id, laid out by hand as
// cn_ctl_msg was in 2005: counts, group, len, then {first, range} pairs.
func ctl(group uint32, idx, val [][2]uint32) []byte {
	var b []byte
	order := binary.NativeEndian
	b = order.AppendUint32(b, uint32(len(idx)))
	b = order.AppendUint32(b, uint32(len(val)))
	b = order.AppendUint32(b, group)
	b = order.AppendUint32(b, uint32(8*(len(idx)+len(val))))
	for _, r := range append(append([][2]uint32{}, idx...), val...) {
		b = order.AppendUint32(b, r[0])
		b = order.AppendUint32(b, r[1])
	}
	return b
}

// ask sends a request to the control id and returns the errno it is answered with.
func (e *env) ask(ep connector.Endpoint, data []byte) uint32 {
	e.Helper()
	ev, err := ep.Call(e.ctx, connector.Message{ID: cbid.Control, Data: data}, toID)
	require.NoError(e, err)
	require.Equal(e, cbid.Control, ev.Msg.ID)
	require.Len(e, ev.Msg.Data, 4)
	return binary.NativeEndian.Uint32(ev.Msg.Data)
}

// told checks that the next event of ep is the notification of id.
func (e *env) told(ep connector.Endpoint, group uint32, id cbid.ID, removed bool) {
	e.Helper()
	ev := e.message(ep)
	ack := uint32(0)
	if removed {
		ack = 1
	}
	require.Equal(e, id, ev.Msg.ID)
	require.Equal(e, ack, ev.Msg.Ack)
	require.Zero(e, ev.Msg.Seq)
	require.Empty(e, ev.Msg.Data)
	require.Equal(e, group, ev.From.Group)
}

// addDel registers the ids one after the other and removes them.
func (e *env) addDel(b connector.Bus, ids ...cbid.ID) {
	e.Helper()
	for _, i := range ids {
		e.register(b, i, e.echo)
		require.NoError(e, b.DelCallback(e.ctx, i))
	}
}

var notifyTests = []test{
	{name: "who asks is told of ids that come and go, as in 2005", need: notifyCap, run: func(e *env) {
		agent, ep := e.bus(), e.member(group(9))
		// The request of cn_test: idx 0x123 and nine more, two ranges of val.
		require.Zero(e, e.ask(ep, ctl(group(9), [][2]uint32{{0x123, 10}}, [][2]uint32{{0x456, 10}, {0x456 + 20, 10}})))
		inside := []cbid.ID{
			cbid.Make(0x123, 0x456), cbid.Make(0x12c, 0x45f), cbid.Make(0x125, 0x46a), cbid.Make(0x123, 0x473),
		}
		outside := []cbid.ID{
			cbid.Make(0x122, 0x456), cbid.Make(0x12d, 0x456), cbid.Make(0x123, 0x455), cbid.Make(0x123, 0x460), cbid.Make(0x123, 0x474),
		}
		e.addDel(agent, outside...)
		e.addDel(agent, inside...)
		for _, i := range inside {
			e.told(ep, group(9), i, false)
			e.told(ep, group(9), i, true)
		}
		e.nothingFor(ep)
	}},
	{name: "a request that is no call is done without an answer", need: notifyCap, run: func(e *env) {
		agent, ep := e.bus(), e.member(group(9))
		require.NoError(e, ep.Send(e.ctx, connector.Message{ID: cbid.Control, Seq: 1, Data: ctl(group(9), [][2]uint32{{group(0), 1}}, [][2]uint32{{0, 9}})}, toID))
		if err := ep.Send(e.ctx, connector.Message{ID: cbid.Control, Seq: 2, Data: []byte("nonsense")}, toID); err != nil {
			e.is(err, connector.ErrInvalid)
		}
		e.addDel(agent, id(0))
		e.told(ep, group(9), id(0), false)
		e.told(ep, group(9), id(0), true)
		e.nothingFor(ep)
	}},
	{name: "every member of the asked group is told, whoever asked", need: notifyCap, run: func(e *env) {
		agent, asker, other := e.bus(), e.endpoint(), e.member(group(9))
		require.Zero(e, e.ask(asker, ctl(group(9), [][2]uint32{{group(0), 1}}, [][2]uint32{{1, 1}})))
		e.addDel(agent, id(0))
		e.told(other, group(9), id(0), false)
		e.told(other, group(9), id(0), true)
		e.nothingFor(asker)
	}},
	{name: "two requests tell twice; group 0 takes equal ones back", need: notifyCap, run: func(e *env) {
		agent, ep := e.bus(), e.member(group(8), group(9))
		req := func(g uint32) []byte { return ctl(g, [][2]uint32{{group(0), 2}}, [][2]uint32{{1, 1}}) }
		require.Zero(e, e.ask(ep, req(group(8))))
		require.Zero(e, e.ask(ep, req(group(9))))
		require.Zero(e, e.ask(ep, ctl(group(9), [][2]uint32{{group(1), 1}}, [][2]uint32{{1, 1}})))
		e.register(agent, id(0), e.echo)
		groups := []uint32{e.message(ep).From.Group, e.message(ep).From.Group}
		assert.ElementsMatch(e, []uint32{group(8), group(9)}, groups)
		require.Zero(e, e.ask(ep, req(0)))
		require.NoError(e, agent.DelCallback(e.ctx, id(0)))
		e.nothingFor(ep)
		assert.NotZero(e, e.ask(ep, req(0)), "there is none left to take back")
		e.register(agent, id(1), e.echo) // the other request still stands
		e.told(ep, group(9), id(1), false)
	}},
	{name: "malformed requests are refused and change nothing", need: notifyCap, run: func(e *env) {
		agent, ep := e.bus(), e.member(group(9))
		good := ctl(group(9), [][2]uint32{{group(0), 1}}, [][2]uint32{{1, 1}})
		for n := range good {
			require.NotZero(e, e.ask(ep, good[:n]), "the first %d bytes", n)
		}
		require.NotZero(e, e.ask(ep, append(good[:len(good):len(good)], 0)))
		for at := range 4 {
			for _, v := range []uint32{7, 0xffffffff, 0x20000001} {
				if at == 2 {
					continue // the group may be any
				}
				bad := append([]byte{}, good...)
				binary.NativeEndian.PutUint32(bad[4*at:], v)
				require.NotZero(e, e.ask(ep, bad), "word %d is %#x", at, v)
			}
		}
		require.NotZero(e, e.ask(ep, make([]byte, 16364)))
		e.addDel(agent, id(0))
		e.nothingFor(ep)
	}},
	{name: "a request ends with its owner", need: notifyCap, run: func(e *env) {
		agent, gone, ep := e.bus(), e.bus(), e.member(group(9))
		asker := e.endpoint(gone)
		require.Zero(e, e.ask(asker, ctl(group(9), [][2]uint32{{group(0), 1}}, [][2]uint32{{0, 0xffffffff}})))
		e.addDel(agent, id(0))
		e.told(ep, group(9), id(0), false)
		e.told(ep, group(9), id(0), true)
		port := asker.Port()
		require.NoError(e, asker.Close())
		require.NoError(e, gone.Close())
		e.eventually("the owner is gone", func() bool { return ep.Send(e.ctx, text(id(0), "x"), to(port)) != nil })
		e.addDel(agent, id(0))
		e.nothingFor(ep)
	}},
	{name: "others' requests cannot be taken back", need: notifyCap, run: func(e *env) {
		agent, asker, ep := e.bus(), e.endpoint(), e.member(group(9))
		idx, val := [][2]uint32{{group(0), 1}}, [][2]uint32{{1, 1}}
		require.Zero(e, e.ask(asker, ctl(group(9), idx, val)))
		assert.NotZero(e, e.ask(ep, ctl(0, idx, val)))
		e.register(agent, id(0), e.echo)
		e.told(ep, group(9), id(0), false)
	}},
	{name: "those who close are told of", need: notifyCap, run: func(e *env) {
		agent, ep := e.bus(), e.member(group(9))
		require.Zero(e, e.ask(ep, ctl(group(9), [][2]uint32{{0, 0xffffffff}}, [][2]uint32{{0, 0xffffffff}})))
		e.register(agent, id(0), e.echo)
		e.told(ep, group(9), id(0), false)
		require.NoError(e, agent.Close())
		e.told(ep, group(9), id(0), true)
	}},
}
