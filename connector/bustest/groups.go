package bustest

import (
	"math"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var groupTests = []test{
	{name: "members get a group's messages, its sender and others do not", run: func(e *env) {
		sender, other := e.member(group(0)), e.member(group(1))
		members := []connector.Endpoint{e.member(group(0)), e.member(group(1), group(0)), e.member(group(0))}
		require.NoError(e, sender.Send(e.ctx, text(id(7), "all"), toGroup(group(0))))
		for _, m := range members {
			ev := e.message(m)
			assert.Equal(e, "all", string(ev.Msg.Data))
			assert.Equal(e, connector.From{Port: sender.Port(), Group: group(0), Cred: ev.From.Cred}, ev.From)
		}
		for _, ep := range append(members, sender, other) {
			e.nothingFor(ep)
		}
	}},
	{name: "joining twice is joining once", run: func(e *env) {
		a, b := e.endpoint(), e.member(group(0), group(0))
		require.NoError(e, a.Send(e.ctx, text(id(0), "once"), toGroup(group(0))))
		assert.Equal(e, "once", string(e.message(b).Msg.Data))
		e.nothingFor(b)
		require.NoError(e, b.Leave(e.ctx, group(0)))
		require.NoError(e, e.member(group(0)).Close())
		keep := e.member(group(0))
		require.NoError(e, a.Send(e.ctx, text(id(0), "not for b"), toGroup(group(0))))
		assert.Equal(e, "not for b", string(e.message(keep).Msg.Data))
		e.nothingFor(b)
	}},
	{name: "what was queued before leaving stays", run: func(e *env) {
		a, b, keep := e.endpoint(), e.member(group(0)), e.member(group(0))
		for _, s := range []string{"1", "2"} {
			require.NoError(e, a.Send(e.ctx, text(id(0), s), toGroup(group(0))))
		}
		require.NoError(e, b.Leave(e.ctx, group(0)))
		require.NoError(e, a.Send(e.ctx, text(id(0), "3"), toGroup(group(0))))
		assert.Equal(e, "1", string(e.message(b).Msg.Data))
		assert.Equal(e, "2", string(e.message(b).Msg.Data))
		e.nothingFor(b)
		for range 3 {
			e.message(keep)
		}
	}},
	{name: "leaving a group one is not in changes nothing", run: func(e *env) {
		a := e.member(group(0))
		require.NoError(e, a.Leave(e.ctx, group(1)))
		require.NoError(e, a.Leave(e.ctx, group(0)))
		require.NoError(e, a.Leave(e.ctx, group(0)))
	}},
	{name: "a group without a listener refuses with ESRCH", need: func(c Caps) bool { return c.NoListener }, run: func(e *env) {
		a, b, bus := e.endpoint(), e.member(group(0)), e.bus()
		e.is(a.Send(e.ctx, text(id(1), "x"), toGroup(group(1))), connector.ErrNoListener, syscall.ESRCH)
		e.is(bus.Send(e.ctx, text(id(1), "x"), toGroup(group(1))), connector.ErrNoListener, syscall.ESRCH)
		e.is(b.Send(e.ctx, text(id(0), "only me"), toGroup(group(0))), connector.ErrNoListener)
		require.NoError(e, b.Leave(e.ctx, group(0)))
		e.is(a.Send(e.ctx, text(id(0), "x"), toGroup(group(0))), connector.ErrNoListener)
	}},
	{name: "a closed endpoint is a member no more", need: func(c Caps) bool { return c.NoListener }, run: func(e *env) {
		a, b := e.endpoint(), e.member(group(0))
		require.NoError(e, b.Close())
		e.eventually("the membership ends", func() bool { return a.Send(e.ctx, text(id(0), "x"), toGroup(group(0))) != nil })
		e.is(a.Send(e.ctx, text(id(0), "x"), toGroup(group(0))), connector.ErrNoListener)
	}},
	{name: "group 0 cannot be joined", run: func(e *env) {
		a := e.endpoint()
		e.is(a.Join(e.ctx, 0), connector.ErrInvalid, syscall.EINVAL)
	}},
	{name: "the highest group is a group like any other", run: func(e *env) {
		highest := e.carrier.Caps.MaxGroup
		a, b := e.endpoint(), e.member(highest)
		require.NoError(e, a.Send(e.ctx, text(id(0), "top"), toGroup(highest)))
		assert.Equal(e, highest, e.message(b).From.Group)
		if highest < math.MaxUint32 {
			e.is(a.Join(e.ctx, highest+1), connector.ErrInvalid)
		}
	}},
	{name: "an agent's message goes to the group of its registered id", need: func(c Caps) bool { return c.Registry && c.NoListener && c.NoID }, run: func(e *env) {
		agent, stranger, b := e.bus(), e.bus(), e.member(group(0))
		e.is(agent.Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoID, syscall.ENODEV)
		e.register(agent, id(0), e.echo)
		require.NoError(e, agent.Send(e.ctx, text(id(0), "mine"), toID))
		require.NoError(e, stranger.Send(e.ctx, text(id(0), "by lookup"), toID))
		require.NoError(e, agent.Send(e.ctx, text(id(9), "by number"), toGroup(group(0))))
		for _, want := range []string{"mine", "by lookup", "by number"} {
			ev := e.message(b)
			assert.Equal(e, want, string(ev.Msg.Data))
			assert.Equal(e, group(0), ev.From.Group)
		}
		e.is(agent.Send(e.ctx, text(id(0, 2), "x"), toID), connector.ErrNoID)
		require.NoError(e, b.Leave(e.ctx, group(0)))
		e.is(agent.Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoListener, syscall.ESRCH)
		require.NoError(e, agent.DelCallback(e.ctx, id(0)))
		e.is(agent.Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoID)
	}},
	{name: "an agent's endpoints hear its group", run: func(e *env) {
		agent := e.bus()
		ep := e.endpoint(agent)
		require.NoError(e, ep.Join(e.ctx, group(0)))
		require.NoError(e, agent.Send(e.ctx, text(id(0), "x"), toGroup(group(0))))
		assert.Equal(e, "x", string(e.message(ep).Msg.Data))
	}},
	{name: "each sender's messages keep their order at every member of eight groups", run: func(e *env) {
		const groups, senders, n = 8, 3, 60
		full := connector.FullWait
		if !e.carrier.Caps.Wait {
			full = connector.FullDefault
		}
		var members []connector.Endpoint
		for i := range 3 {
			m := e.endpoint()
			for g := range groups {
				if g%3 <= i {
					require.NoError(e, m.Join(e.ctx, group(g)))
				}
			}
			members = append(members, m)
		}
		all := e.member()
		for g := range groups {
			require.NoError(e, all.Join(e.ctx, group(g)))
		}
		members = append(members, all)
		for s := range senders {
			ep := e.endpoint()
			e.spawn(func() {
				for i := range n {
					for g := range groups {
						if !assert.NoError(e, ep.Send(e.ctx, numbered(id(g), s, i, 40), connector.Dest{Group: group(g), Full: full})) {
							return
						}
					}
				}
			})
		}
		var readers []<-chan struct{}
		for i, m := range members { // all at once, since a FullWait waits for each
			want := 0
			for g := range groups {
				if g%3 <= i {
					want += senders * n
				}
			}
			readers = append(readers, e.spawn(func() {
				next := map[[2]uint32]int{}
				for range want {
					ev := e.message(m)
					s, k, err := number(ev.Msg)
					require.NoError(e, err)
					key := [2]uint32{uint32(s), ev.From.Group}
					require.Equal(e, next[key], k)
					next[key]++
				}
			}))
		}
		for i, m := range members {
			e.await(readers[i], "the member's last message")
			e.nothingFor(m)
		}
	}},
}
