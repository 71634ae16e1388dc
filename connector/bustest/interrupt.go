package bustest

import (
	"testing"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// interrupter is a Site whose connections can be broken.
type interrupter interface{ Interrupt(t testing.TB) }

// interrupt breaks the connections, or reports that this carrier has none.
func (e *env) interrupt() bool {
	i, ok := e.site.(interrupter)
	if !ok {
		e.Log("this carrier has no connections to break")
		return false
	}
	i.Interrupt(e.T)
	return true
}

// up reads the EventDown and the EventUp of ep, and an EventLost of an unknown
// number between or after them until the given message comes.
func (e *env) up(ep connector.Endpoint) {
	e.Helper()
	ev := e.recv(ep)
	require.Equal(e, connector.EventDown, ev.Kind)
	require.Error(e, ev.Err)
	for ev = e.recv(ep); ev.Kind == connector.EventLost; ev = e.recv(ep) {
		require.True(e, ev.Unknown)
	}
	require.Equal(e, connector.EventUp, ev.Kind)
}

// again waits until b works again.
func (e *env) again(b connector.Bus) {
	e.Helper()
	e.eventually("the bus is connected again", func() bool {
		err := b.AddCallback(e.ctx, id(99, 99), "probe", connector.HandlerFunc(e.echo))
		if err != nil {
			return false
		}
		return assert.NoError(e, b.DelCallback(e.ctx, id(99, 99)))
	})
}

var interruptTests = []test{
	{name: "an endpoint tells that its connection broke and is back, with its memberships", run: func(e *env) {
		ep := e.member(group(0), group(1))
		if !e.interrupt() {
			return
		}
		e.up(ep)
		a := e.endpoint()
		for g := range 2 {
			require.NoError(e, a.Send(e.ctx, text(id(0), "again"), toGroup(group(g))))
			ev := e.recv(ep)
			for ev.Kind == connector.EventLost && ev.Unknown {
				ev = e.recv(ep)
			}
			assert.Equal(e, "again", string(ev.Msg.Data))
			assert.Equal(e, group(g), ev.From.Group)
		}
		require.NoError(e, a.Send(e.ctx, text(id(0), "to the port it has now"), to(ep.Port())))
		assert.Equal(e, "to the port it has now", string(e.message(ep).Msg.Data))
	}},
	{name: "registrations are back after an interruption", need: registry, run: func(e *env) {
		agent := e.bus()
		e.register(agent, id(0), e.echo)
		e.register(agent, id(1), e.echo)
		if !e.interrupt() {
			return
		}
		e.again(agent)
		ep := e.endpoint()
		for i := range 2 {
			e.eventually("the id answers", func() bool {
				_, err := ep.Call(e.ctx, text(id(i), "x"), toID)
				return err == nil
			})
		}
		e.is(e.bus().AddCallback(e.ctx, id(0), "x", connector.HandlerFunc(e.echo)), connector.ErrDuplicate)
	}},
	{name: "a call that an interruption hits ends, and says that it may have been delivered", need: registry, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "silent", l))
		ended := e.spawn(func() {
			_, err := ep.Call(e.ctx, text(id(0), "x"), toID)
			var op *connector.OpError
			if assert.ErrorAs(e, err, &op) && !assert.True(e, op.MayBeDelivered) {
				e.Log(err)
			}
		})
		l.await(e, 1)
		if !e.interrupt() {
			require.NoError(e, agent.Close())
		}
		e.await(ended, "the call's end")
	}},
	{name: "a watch begins again after an interruption", need: watchCap, run: func(e *env) {
		agent, other := e.bus(), e.bus()
		e.register(agent, id(0), e.echo)
		w := e.watcher(other, nil)
		v := newView()
		v.until(e, w, v.has(id(0)))
		if !e.interrupt() {
			return
		}
		e.again(agent)
		e.register(agent, id(1), e.echo)
		v.until(e, w, func() bool { return v.resync > 0 && v.has(id(0))() && v.has(id(1))() })
	}},
	{name: "a member of a group with a history misses nothing by an interruption", need: historyCap, run: func(e *env) {
		b := e.historian(connector.History{Messages: 100})
		ep := e.member(group(0))
		e.publish(b, 0, 10, 20)
		e.kept(ep, 0, 3)
		if !e.interrupt() {
			return
		}
		e.again(b)
		e.publish(b, 10, 20, 20)
		for next := 3; next < 20; {
			switch ev := e.recv(ep); ev.Kind {
			case connector.EventMessage:
				_, n, err := number(ev.Msg)
				require.NoError(e, err)
				require.Equal(e, next, n)
				next++
			case connector.EventDown, connector.EventUp:
			default:
				require.Fail(e, "unexpected event", "%v: lost %d, unknown %v", ev.Kind, ev.Lost, ev.Unknown)
			}
		}
		e.Log("nothing was missed")
	}},
}
