package bustest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var callTests = []test{
	{name: "a reply has the request's id, seq, and ack + 1", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		requests := make(chan connector.Delivery, 1)
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			requests <- *d.Detach()
			assert.NoError(e, d.Reply(ctx, []byte("answer")))
		})
		seqs := map[uint32]bool{}
		for range 20 {
			ev, err := ep.Call(e.ctx, connector.Message{ID: id(0), Flags: 9, Data: []byte("question")}, toID)
			require.NoError(e, err)
			d := <-requests
			assert.True(e, d.Call)
			assert.Equal(e, ep.Port(), d.From.Port)
			assert.Equal(e, "question", string(d.Msg.Data))
			assert.EqualValues(e, 9, d.Msg.Flags)
			assert.Equal(e, connector.EventMessage, ev.Kind)
			assert.Equal(e, id(0), ev.Msg.ID)
			assert.Equal(e, d.Msg.Seq, ev.Msg.Seq)
			assert.Equal(e, d.Msg.Ack+1, ev.Msg.Ack)
			assert.Equal(e, "answer", string(ev.Msg.Data))
			assert.NotEqual(e, ep.Port(), ev.From.Port)
			assert.False(e, seqs[d.Msg.Seq], "seq %d was used before", d.Msg.Seq)
			seqs[d.Msg.Seq] = true
		}
		e.nothingFor(ep)
	}},
	{name: "a reply has up to 16364 bytes; more is refused and can be answered still", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			e.is(d.Reply(ctx, make([]byte, 16365)), connector.ErrTooBig)
			assert.NoError(e, d.Reply(ctx, bytes.Repeat([]byte{7}, 16364)))
		})
		ev, err := ep.Call(e.ctx, text(id(0), ""), toID)
		require.NoError(e, err)
		assert.True(e, bytes.Equal(bytes.Repeat([]byte{7}, 16364), ev.Msg.Data))
	}},
	{name: "many calls at once get their own replies", need: registry, run: func(e *env) {
		agent := e.bus()
		var later []*connector.Delivery // answered out of order
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			if later = append(later, d.Detach()); len(later) == 4 {
				for i := range later {
					assert.NoError(e, later[3-i].Reply(ctx, later[3-i].Msg.Data))
				}
				later = nil
			}
		})
		e.register(agent, id(1), e.echo)
		e.register(agent, id(2), func(_ context.Context, d *connector.Delivery) {
			d = d.Detach()
			e.spawn(func() { e.echo(e.ctx, d) })
		})
		eps := []connector.Endpoint{e.endpoint(), e.endpoint(), e.endpoint(agent)}
		var wg sync.WaitGroup
		for w := range 12 {
			ep := eps[w%3]
			wg.Go(func() {
				for i := range 40 {
					want := fmt.Sprintf("%d-%d", w, i)
					ev, err := ep.Call(e.ctx, text(id(w/4), want), toID)
					if !assert.NoError(e, err) || !assert.Equal(e, want, string(ev.Msg.Data)) {
						return
					}
				}
			})
		}
		wg.Wait()
		for _, ep := range eps {
			e.nothingFor(ep)
		}
	}},
	{name: "a call comes after the messages before it", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		count := 0
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			if count++; d.Call {
				assert.NoError(e, d.Reply(ctx, fmt.Append(nil, count)))
			}
		})
		for i := range 300 {
			require.NoError(e, ep.Post(e.ctx, numbered(id(0), 0, i, 0), toID))
		}
		ev, err := ep.Call(e.ctx, text(id(0), ""), toID)
		require.NoError(e, err)
		assert.Equal(e, "301", string(ev.Msg.Data))
	}},
	{name: "a call may be answered by an endpoint that it is sent to", run: func(e *env) {
		client, server := e.endpoint(), e.endpoint()
		e.spawn(func() {
			ev, err := server.Recv(e.ctx)
			if !assert.NoError(e, err) {
				return
			}
			m := ev.Msg.Clone()
			assert.Equal(e, "question", string(m.Data))
			m.Ack++
			m.Data = []byte("answer")
			assert.NoError(e, server.Send(e.ctx, m, to(ev.From.Port)))
		})
		ev, err := client.Call(e.ctx, text(cbid.Make(500, 501), "question"), to(server.Port()))
		require.NoError(e, err)
		assert.Equal(e, "answer", string(ev.Msg.Data))
		assert.Equal(e, server.Port(), ev.From.Port)
	}},
	{name: "a reply to what is no call comes as a message", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		e.register(agent, id(0), e.echo)
		require.NoError(e, ep.Send(e.ctx, connector.Message{ID: id(0), Seq: 10, Ack: 20, Data: []byte("x")}, toID))
		ev := e.message(ep)
		assert.Equal(e, connector.Message{ID: id(0), Seq: 10, Ack: 21, Data: []byte("x")}, ev.Msg)
	}},
	{name: "a call to nobody fails at once", need: func(c Caps) bool { return c.NoID && c.NoPort && c.NoListener }, run: func(e *env) {
		ep := e.endpoint()
		for _, f := range []struct {
			dest connector.Dest
			errs []error
		}{
			{toID, []error{connector.ErrNoID, syscall.ENODEV}},
			{to(0xfffffff0), []error{connector.ErrNoPort, syscall.ECONNREFUSED}},
			{toGroup(group(3)), []error{connector.ErrNoListener, syscall.ESRCH}},
		} {
			_, err := ep.Call(e.ctx, text(id(0), "x"), f.dest)
			e.is(err, f.errs...)
		}
	}},
	{name: "a call that nobody answers ends with its context", need: registry, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "silent", l))
		ctx, cancel := e.short()
		defer cancel()
		_, err := ep.Call(ctx, text(id(0), "x"), toID)
		e.is(err, context.DeadlineExceeded)
		var op *connector.OpError
		require.ErrorAs(e, err, &op)
		assert.True(e, op.Timeout())
		ctx, cancel = context.WithCancel(e.ctx)
		failed := e.spawn(func() {
			_, err := ep.Call(ctx, text(id(0), "y"), toID)
			e.is(err, context.Canceled)
			if assert.ErrorAs(e, err, &op) {
				assert.True(e, op.MayBeDelivered, "the agent has the request")
			}
		})
		for len(l.await(e, 1)) < 2 && string(l.await(e, 1)[0].Msg.Data) != "y" {
			l.await(e, 2)
		}
		cancel()
		e.await(failed, "the end of the call")
	}},
	{name: "a call whose id is removed ends", need: func(c Caps) bool { return c.Registry && c.AgentGone }, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "silent", l))
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				_, err := ep.Call(e.ctx, text(id(0), "x"), toID)
				e.is(err, connector.ErrAgentGone, syscall.ECONNRESET)
			})
		}
		l.await(e, 5)
		require.NoError(e, agent.DelCallback(e.ctx, id(0)))
		wg.Wait()
		e.register(agent, id(0), e.echo)
		ev, err := ep.Call(e.ctx, text(id(0), "again"), toID)
		require.NoError(e, err)
		assert.Equal(e, "again", string(ev.Msg.Data))
		l.got[0].Reply(e.ctx, []byte("late")) // an error or nil: what counts is that nobody gets it
		e.nothingFor(ep)
	}},
	{name: "a call whose agent closes ends, others go on", need: func(c Caps) bool { return c.Registry && c.AgentGone }, run: func(e *env) {
		agent, other, ep := e.bus(), e.bus(), e.endpoint()
		entered := make(chan struct{})
		e.register(agent, id(0), func(ctx context.Context, _ *connector.Delivery) {
			close(entered)
			<-ctx.Done()
		})
		answer := make(chan *connector.Delivery, 1)
		e.register(other, id(1), func(_ context.Context, d *connector.Delivery) { answer <- d.Detach() })
		gone := e.spawn(func() {
			_, err := ep.Call(e.ctx, text(id(0), "x"), toID)
			e.is(err, connector.ErrAgentGone, syscall.ECONNRESET)
			var op *connector.OpError
			if assert.ErrorAs(e, err, &op) {
				assert.True(e, op.MayBeDelivered)
				assert.Equal(e, id(0), op.ID)
			}
		})
		answered := e.spawn(func() {
			ev, err := ep.Call(e.ctx, text(id(1), "y"), toID)
			if assert.NoError(e, err) {
				assert.Equal(e, "z", string(ev.Msg.Data))
			}
		})
		e.await(entered, "the callback")
		d := get(e, answer, "the other callback")
		require.NoError(e, agent.Close())
		e.await(gone, "the end of the call")
		require.NoError(e, d.Reply(e.ctx, []byte("z")))
		e.await(answered, "the other call")
	}},
	{name: "a call to an endpoint that closes ends", need: func(c Caps) bool { return c.AgentGone }, run: func(e *env) {
		client, server := e.endpoint(), e.endpoint()
		e.spawn(func() {
			_, err := server.Recv(e.ctx)
			assert.NoError(e, err)
			assert.NoError(e, server.Close())
		})
		_, err := client.Call(e.ctx, text(id(0), "x"), to(server.Port()))
		e.is(err, connector.ErrAgentGone)
	}},
}
