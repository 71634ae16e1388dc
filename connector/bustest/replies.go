package bustest

import (
	"context"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var replyTests = []test{
	{name: "a late reply is not taken for the reply to a later call", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		requests := make(chan *connector.Delivery, 10)
		e.register(agent, id(0), func(_ context.Context, d *connector.Delivery) { requests <- d.Detach() })
		for range 10 {
			ctx, cancel := context.WithCancel(e.ctx)
			ended := e.spawn(func() {
				_, err := ep.Call(ctx, text(id(0), "first"), toID)
				e.is(err, context.Canceled)
			})
			late := get(e, requests, "the first request")
			cancel()
			e.await(ended, "the end of the first call")
			e.spawn(func() {
				second := get(e, requests, "the second request")
				late.Reply(e.ctx, []byte("late")) // nil or an error, the caller is gone
				assert.NoError(e, second.Reply(e.ctx, []byte("second")))
			})
			ev, err := ep.Call(e.ctx, text(id(0), "second"), toID)
			require.NoError(e, err)
			require.Equal(e, "second", string(ev.Msg.Data))
		}
		e.nothingFor(ep)
	}},
	{name: "of two replies the first counts, the second is taken for no other", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			assert.NoError(e, d.Reply(ctx, d.Msg.Data))
			d.Reply(ctx, []byte("duplicate")) // nil or an error
		})
		for i := range 50 {
			ev, err := ep.Call(e.ctx, connector.Message{ID: id(0), Data: []byte{byte(i)}}, toID)
			require.NoError(e, err)
			require.Equal(e, []byte{byte(i)}, ev.Msg.Data)
		}
		e.nothingFor(ep)
	}},
	{name: "a reply forged by another endpoint is not taken for the agent's", need: registry, run: func(e *env) {
		agent, ep, forger := e.bus(), e.endpoint(), e.endpoint()
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			m := connector.Message{ID: id(0), Seq: d.Msg.Seq, Ack: d.Msg.Ack + 1, Data: []byte("forged")}
			assert.NoError(e, forger.Send(e.ctx, m, to(d.From.Port)))
			assert.NoError(e, d.Reply(ctx, []byte("true")))
		})
		for range 10 {
			ev, err := ep.Call(e.ctx, text(id(0), "x"), toID)
			require.NoError(e, err)
			require.Equal(e, "true", string(ev.Msg.Data))
			require.NotEqual(e, forger.Port(), ev.From.Port)
		}
	}},
	{name: "a reply forged to an endpoint's call to another endpoint is not taken", run: func(e *env) {
		client, server, forger := e.endpoint(), e.endpoint(), e.endpoint()
		e.spawn(func() {
			ev, err := server.Recv(e.ctx)
			if !assert.NoError(e, err) {
				return
			}
			m, port := ev.Msg.Clone(), ev.From.Port
			m.Ack++
			m.Data = []byte("forged")
			assert.NoError(e, forger.Send(e.ctx, m, to(port)))
			wrong := m
			wrong.Ack++
			wrong.Data = []byte("wrong ack")
			assert.NoError(e, server.Send(e.ctx, wrong, to(port)))
			wrong = m
			wrong.Seq++
			wrong.Data = []byte("wrong seq")
			assert.NoError(e, server.Send(e.ctx, wrong, to(port)))
			m.Data = []byte("true")
			assert.NoError(e, server.Send(e.ctx, m, to(port)))
		})
		ev, err := client.Call(e.ctx, text(id(0), "x"), to(server.Port()))
		require.NoError(e, err)
		require.Equal(e, "true", string(ev.Msg.Data))
		require.Equal(e, "wrong ack", string(e.skipForged(client).Msg.Data), "what is no reply is a new message")
		require.Equal(e, "wrong seq", string(e.message(client).Msg.Data))
	}},
	{name: "a caller that closes does not disturb the agent", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		requests := make(chan *connector.Delivery, 1)
		e.register(agent, id(0), func(_ context.Context, d *connector.Delivery) { requests <- d.Detach() })
		ended := e.spawn(func() {
			_, err := ep.Call(e.ctx, text(id(0), "x"), toID)
			e.is(err, connector.ErrClosed)
		})
		d := get(e, requests, "the request")
		require.NoError(e, ep.Close())
		e.await(ended, "the end of the call")
		d.Reply(e.ctx, []byte("to nobody")) // nil or an error
		other := e.endpoint()
		e.spawn(func() { assert.NoError(e, get(e, requests, "a request").Reply(e.ctx, []byte("to other"))) })
		ev, err := other.Call(e.ctx, text(id(0), "y"), toID)
		require.NoError(e, err)
		assert.Equal(e, "to other", string(ev.Msg.Data))
	}},
}

// skipForged returns the next message that is not the forged one, which a
// carrier may deliver as a new message or drop.
func (e *env) skipForged(ep connector.Endpoint) connector.Event {
	ev := e.message(ep)
	if string(ev.Msg.Data) == "forged" {
		ev = e.message(ep)
	}
	return ev
}
