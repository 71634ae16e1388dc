package bustest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func registry(c Caps) bool { return c.Registry }

var callbackTests = []test{
	{name: "a message runs the callback of its id, with everything in it", need: registry, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		require.NoError(e, agent.AddCallback(e.ctx, id(0, 7), "log", l))
		require.NoError(e, agent.AddCallback(e.ctx, id(0, 8), "other", connector.HandlerFunc(func(context.Context, *connector.Delivery) {
			e.Error("the callback of another id ran")
		})))
		m := connector.Message{ID: id(0, 7), Seq: 5, Ack: 6, Flags: 7, Data: []byte("eight")}
		require.NoError(e, ep.Send(e.ctx, m, toID))
		require.NoError(e, ep.Post(e.ctx, m, toID))
		for _, d := range l.await(e, 2) {
			assert.Equal(e, m, d.Msg)
			assert.Equal(e, ep.Port(), d.From.Port)
			assert.Zero(e, d.From.Group)
			assert.False(e, d.Call)
		}
	}},
	{name: "messages of every size up to 16364 bytes reach a callback", need: registry, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		require.NoError(e, agent.AddCallback(e.ctx, id(0), "log", l))
		sizes := []int{0, 1, 3, 4, 100, 4096, 16363, 16364}
		for _, n := range sizes {
			require.NoError(e, ep.Send(e.ctx, connector.Message{ID: id(0), Data: []byte(strings.Repeat("x", n))}, toID))
		}
		for i, d := range l.await(e, len(sizes)) {
			assert.Equal(e, strings.Repeat("x", sizes[i]), string(d.Msg.Data))
		}
	}},
	{name: "an id is registered once", need: registry, run: func(e *env) {
		a, b := e.bus(), e.bus()
		e.register(a, id(0), e.echo)
		for _, bus := range []connector.Bus{a, b} {
			err := bus.AddCallback(e.ctx, id(0), "again", connector.HandlerFunc(e.echo))
			e.is(err, connector.ErrDuplicate, syscall.EINVAL)
			var op *connector.OpError
			require.ErrorAs(e, err, &op)
			assert.True(e, op.HasID)
			assert.Equal(e, id(0), op.ID)
		}
		require.NoError(e, a.DelCallback(e.ctx, id(0)))
		e.register(b, id(0), e.echo)
		e.is(a.AddCallback(e.ctx, id(0), "again", connector.HandlerFunc(e.echo)), connector.ErrDuplicate)
	}},
	{name: "the control id is taken", need: func(c Caps) bool { return c.Registry && c.Notify }, run: func(e *env) {
		e.is(e.bus().AddCallback(e.ctx, cbid.Control, "me", connector.HandlerFunc(e.echo)), connector.ErrDuplicate, syscall.EINVAL)
	}},
	{name: "a name has at most 31 bytes and no NUL", need: registry, run: func(e *env) {
		a := e.bus()
		require.NoError(e, a.AddCallback(e.ctx, id(0, 1), strings.Repeat("n", 31), connector.HandlerFunc(e.echo)))
		require.NoError(e, a.AddCallback(e.ctx, id(0, 2), "", connector.HandlerFunc(e.echo)))
		for _, name := range []string{strings.Repeat("n", 32), "a\x00b"} {
			e.is(a.AddCallback(e.ctx, id(0, 3), name, connector.HandlerFunc(e.echo)), connector.ErrInvalid, syscall.EINVAL)
		}
		e.is(a.AddCallback(e.ctx, id(0, 3), "nil", nil), connector.ErrInvalid)
		e.register(a, id(0, 3), e.echo)
	}},
	{name: "an id that nobody has refuses with ENODEV", need: func(c Caps) bool { return c.Registry && c.NoID }, run: func(e *env) {
		ep := e.endpoint()
		e.is(ep.Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoID, syscall.ENODEV)
		e.register(e.bus(), id(0, 2), e.echo) // same idx, another val
		e.is(ep.Send(e.ctx, text(id(0), "x"), toID), connector.ErrNoID)
	}},
	{name: "callbacks of one id run one at a time, in each sender's order", need: registry, run: func(e *env) {
		const senders, n = 5, 150
		var running atomic.Int32
		next := make([]int, senders) // the race detector sees callbacks that are not serial
		done := make(chan struct{})
		count := 0
		e.register(e.bus(), id(0), func(_ context.Context, d *connector.Delivery) {
			if !assert.EqualValues(e, 1, running.Add(1), "callbacks at once") {
				return
			}
			s, i, err := number(d.Msg)
			assert.NoError(e, err)
			assert.Equal(e, next[s], i, "sender %d", s)
			next[s] = i + 1
			if count++; count == senders*n {
				close(done)
			}
			running.Add(-1)
		})
		for s := range senders {
			ep := e.endpoint()
			e.spawn(func() {
				for i := range n {
					send := ep.Post
					if (s+i)%7 == 0 {
						send = ep.Send
					}
					if !assert.NoError(e, send(e.ctx, numbered(id(0), s, i, 20), toID)) {
						return
					}
				}
			})
		}
		e.await(done, "all callbacks")
	}},
	{name: "ids do not wait for each other", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		entered, release := make(chan struct{}), make(chan struct{})
		e.register(agent, id(0), func(context.Context, *connector.Delivery) {
			close(entered)
			<-release
		})
		defer close(release)
		for i := range 3 {
			e.register(agent, id(1, i), e.echo)
		}
		require.NoError(e, ep.Post(e.ctx, text(id(0), "block"), toID))
		e.await(entered, "the first callback")
		for i := range 30 {
			_, err := ep.Call(e.ctx, text(id(1, i%3), "go on"), toID)
			require.NoError(e, err, "an id waited for another")
		}
	}},
	{name: "a callback may send to its own id, and call others", need: registry, run: func(e *env) {
		agent := e.bus()
		inside, outside := e.endpoint(agent), e.endpoint()
		done := make(chan string, 1)
		e.register(agent, id(1), e.echo)
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			_, n, err := number(d.Msg)
			if !assert.NoError(e, err) {
				return
			}
			ev, err := inside.Call(ctx, text(id(1), fmt.Sprint(n)), toID)
			if !assert.NoError(e, err) {
				return
			}
			if n == 0 {
				done <- string(ev.Msg.Data)
				return
			}
			assert.NoError(e, inside.Post(ctx, numbered(id(0), 0, n-1, 0), toID))
		})
		require.NoError(e, outside.Send(e.ctx, numbered(id(0), 0, 20, 0), toID))
		assert.Equal(e, "0", get(e, done, "the last callback"))
	}},
	{name: "a panic in a callback harms nobody else", need: registry, run: func(e *env) {
		agent, ep, l := e.bus(), e.endpoint(), newLog()
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			if string(d.Msg.Data) == "panic" {
				panic("bustest: this panic is part of the test")
			}
			l.Handle(ctx, d)
		})
		for _, s := range []string{"panic", "1", "panic", "2"} {
			require.NoError(e, ep.Send(e.ctx, text(id(0), s), toID))
		}
		got := l.await(e, 2)
		assert.Equal(e, "1", string(got[0].Msg.Data))
		assert.Equal(e, "2", string(got[1].Msg.Data))
		require.NoError(e, agent.DelCallback(e.ctx, id(0)))
	}},
	{name: "a thousand ids come and go from several goroutines while others call", need: registry, run: func(e *env) {
		agent, ep := e.bus(), e.endpoint()
		e.register(agent, id(0), e.echo)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 250 {
					at := id(1+w, i)
					if assert.NoError(e, agent.AddCallback(e.ctx, at, "churn", connector.HandlerFunc(e.echo))) && i%5 != 0 {
						assert.NoError(e, agent.DelCallback(e.ctx, at))
					}
				}
			})
		}
		for range 100 {
			_, err := ep.Call(e.ctx, text(id(0), "here"), toID)
			require.NoError(e, err)
		}
		wg.Wait()
		for w := range 4 {
			for i := range 250 {
				if i%5 == 0 {
					ev, err := ep.Call(e.ctx, text(id(1+w, i), "kept"), toID)
					require.NoError(e, err)
					require.Equal(e, "kept", string(ev.Msg.Data))
				}
			}
		}
	}},
}
