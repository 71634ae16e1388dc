package bustest

import (
	"context"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var removalTests = []test{
	{name: "DelCallback waits for the running callback and for what was sent before", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		entered, release := make(chan struct{}), make(chan struct{})
		var handled, inside atomic.Int32
		e.register(agent, id(0), func(context.Context, *connector.Delivery) {
			inside.Add(1)
			if handled.Load() == 0 {
				close(entered)
				<-release
			}
			handled.Add(1)
			inside.Add(-1)
		})
		e.register(agent, id(1), e.echo)
		const n = 20
		for i := range n {
			require.NoError(e, ep.Post(e.ctx, numbered(id(0), 0, i, 0), toID))
		}
		e.await(entered, "the first callback")
		require.NoError(e, ep.Send(e.ctx, numbered(id(0), 0, n, 0), toID)) // now all are with the agent
		begun := make(chan struct{})
		deleted := e.spawn(func() {
			close(begun)
			assert.NoError(e, agent.DelCallback(e.ctx, id(0)))
			assert.Zero(e, inside.Load(), "DelCallback returned while a callback was running")
			assert.EqualValues(e, n+1, handled.Load(), "DelCallback returned before all was handled")
		})
		e.await(begun, "DelCallback's begin")
		_, err := ep.Call(e.ctx, text(id(1), "x"), toID)
		require.NoError(e, err, "other ids go on")
		e.quiet(ep) // time for a DelCallback that does not wait to return
		select {
		case <-deleted:
			assert.Fail(e, "DelCallback did not wait")
		default:
		}
		close(release)
		e.await(deleted, "DelCallback")
	}},
	{name: "after DelCallback nothing more is handled", need: func(c Caps) bool { return c.Registry && c.NoID }, run: func(e *env) {
		agent := e.bus()
		var gone atomic.Bool
		e.register(agent, id(0), func(context.Context, *connector.Delivery) {
			assert.False(e, gone.Load(), "a callback after DelCallback")
		})
		stop := make(chan struct{})
		var senders []<-chan struct{}
		for range 3 {
			ep := e.endpoint()
			senders = append(senders, e.spawn(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if err := ep.Send(e.ctx, numbered(id(0), 0, i, 0), toID); err != nil {
						e.is(err, connector.ErrNoID)
						return
					}
				}
			}))
		}
		require.NoError(e, agent.DelCallback(e.ctx, id(0)))
		gone.Store(true)
		close(stop)
		for _, s := range senders {
			e.await(s, "a sender's end")
		}
		e.is(e.endpoint().Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoID)
	}},
	{name: "only the bus that registered an id can remove it", need: registry, run: func(e *env) {
		a, b := e.bus(), e.bus()
		e.register(a, id(0), e.echo)
		e.is(b.DelCallback(e.ctx, id(0)), connector.ErrNoID)
		e.is(a.DelCallback(e.ctx, id(1)), connector.ErrNoID)
		_, err := e.endpoint().Call(e.ctx, text(id(0), "still here"), toID)
		require.NoError(e, err)
		require.NoError(e, a.DelCallback(e.ctx, id(0)))
		e.is(a.DelCallback(e.ctx, id(0)), connector.ErrNoID)
	}},
	{name: "an id can be removed and registered again, and again", need: registry, run: func(e *env) {
		a, b, ep := e.bus(), e.bus(), e.endpoint()
		for i := range 60 {
			bus := []connector.Bus{a, b}[i%2]
			e.register(bus, id(0), func(ctx context.Context, d *connector.Delivery) {
				assert.NoError(e, d.Reply(ctx, []byte{byte(i)}))
			})
			ev, err := ep.Call(e.ctx, text(id(0), "who?"), toID)
			require.NoError(e, err)
			require.Equal(e, []byte{byte(i)}, ev.Msg.Data)
			require.NoError(e, bus.DelCallback(e.ctx, id(0)))
		}
	}},
	{name: "ids go with the bus that registered them", need: func(c Caps) bool { return c.Registry && c.NoID }, run: func(e *env) {
		a, b, ep := e.bus(), e.bus(), e.endpoint()
		for i := range 5 {
			e.register(a, id(i), e.echo)
		}
		e.register(b, id(7), e.echo)
		require.NoError(e, a.Close())
		for i := range 5 {
			e.eventually("the ids are gone", func() bool { return ep.Send(e.ctx, text(id(i), "x"), toID) != nil })
			e.is(ep.Send(e.ctx, text(id(i), "x"), toID), connector.ErrNoID)
			e.register(b, id(i), e.echo)
		}
		_, err := ep.Call(e.ctx, text(id(7), "x"), toID)
		require.NoError(e, err)
	}},
	{name: "Close ends the callbacks' context and waits for them", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		entered := make(chan struct{})
		var left atomic.Bool
		e.register(agent, id(0), func(ctx context.Context, _ *connector.Delivery) {
			close(entered)
			<-ctx.Done()
			left.Store(true)
		})
		require.NoError(e, ep.Send(e.ctx, text(id(0), "x"), toID))
		e.await(entered, "the callback")
		require.NoError(e, agent.Close())
		assert.True(e, left.Load())
	}},
}
