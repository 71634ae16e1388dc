package bustest

import (
	"context"
	"net"
	"sync"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var closeTests = []test{
	{name: "closing an endpoint ends Recv, and a second Close is harmless", run: func(e *env) {
		for _, bus := range []bool{false, true} {
			b := e.bus()
			ep := e.endpoint(b)
			ended := e.spawn(func() {
				_, err := ep.Recv(e.ctx)
				e.is(err, connector.ErrClosed, net.ErrClosed)
			})
			if bus {
				require.NoError(e, b.Close())
			} else {
				require.NoError(e, ep.Close())
			}
			e.await(ended, "Recv's end")
			require.NoError(e, ep.Close())
			require.NoError(e, b.Close())
			require.NoError(e, b.Close())
		}
	}},
	{name: "closing an endpoint ends a Send that waits", need: waits, opt: small, run: func(e *env) {
		for _, send := range []string{"send", "post", "group"} {
			a, stuck := e.endpoint(), e.member(group(0))
			f := func(ctx context.Context, i int) error {
				m := numbered(id(0), 1, i, floodSize)
				switch send {
				case "send":
					return a.Send(ctx, m, to(stuck.Port()))
				case "post":
					return a.Post(ctx, m, to(stuck.Port()))
				}
				return a.Send(ctx, m, connector.Dest{Group: group(0), Full: connector.FullWait})
			}
			n := e.fill(f)
			begun := make(chan struct{})
			ended := e.spawn(func() {
				close(begun)
				var err error
				for err == nil { // what timed out may have left some room
					err = f(e.ctx, n)
				}
				e.is(err, connector.ErrClosed)
			})
			e.await(begun, "Send's begin")
			e.quiet(a) // until it waits
			require.NoError(e, a.Close())
			e.await(ended, "Send's end")
			require.NoError(e, stuck.Close())
		}
	}},
	{name: "closing a full receiver ends the Send that waits for it", need: func(c Caps) bool { return c.Wait && c.NoPort }, opt: small, run: func(e *env) {
		a, stuck := e.endpoint(), e.endpoint()
		e.fill(func(ctx context.Context, i int) error {
			return a.Send(ctx, numbered(id(0), 1, i, floodSize), to(stuck.Port()))
		})
		begun := make(chan struct{})
		ended := e.spawn(func() {
			close(begun)
			var err error
			for err == nil {
				err = a.Send(e.ctx, numbered(id(0), 1, 0, floodSize), to(stuck.Port()))
			}
			e.is(err, connector.ErrNoPort)
		})
		e.await(begun, "Send's begin")
		e.quiet(a) // until it waits
		require.NoError(e, stuck.Close())
		e.await(ended, "Send's end")
	}},
	{name: "closing a full member, or its leaving, lets a FullWait go on", need: waits, opt: small, run: func(e *env) {
		for _, leave := range []bool{false, true} {
			a, stuck, reader := e.endpoint(), e.member(group(0)), e.member(group(0))
			n := e.carrier.Flood
			sent := e.spawn(func() {
				for i := range n {
					if !assert.NoError(e, a.Send(e.ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Group: group(0), Full: connector.FullWait})) {
						return
					}
				}
			})
			var l ledger
			l.drain(e, reader, group(0), 10)
			if leave {
				require.NoError(e, stuck.Leave(e.ctx, group(0)))
			} else {
				require.NoError(e, stuck.Close())
			}
			l.drain(e, reader, group(0), n)
			assert.Zero(e, l.lost)
			e.await(sent, "the sender's end")
			require.NoError(e, reader.Close())
		}
	}},
	{name: "closing an endpoint ends its calls", need: registry, run: func(e *env) {
		for _, bus := range []bool{false, true} {
			agent, b, l := e.bus(), e.bus(), newLog()
			ep := e.endpoint(b)
			require.NoError(e, agent.AddCallback(e.ctx, id(0), "silent", l))
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					_, err := ep.Call(e.ctx, text(id(0), "x"), toID)
					e.is(err, connector.ErrClosed)
				})
			}
			l.await(e, 3)
			if bus {
				require.NoError(e, b.Close())
			} else {
				require.NoError(e, ep.Close())
			}
			wg.Wait()
			require.NoError(e, agent.Close())
			e.eventually("the id is free", func() bool {
				ctx, cancel := e.short()
				defer cancel()
				other := e.bus()
				return other.AddCallback(ctx, id(0), "next", l) == nil && assert.NoError(e, other.DelCallback(e.ctx, id(0)))
			})
		}
	}},
	{name: "what is closed says so", run: func(e *env) {
		b := e.bus()
		ep, other := e.endpoint(b), e.endpoint(b)
		require.NoError(e, ep.Close())
		m := text(id(0), "x")
		dead := func(ep connector.Endpoint) {
			for _, dest := range []connector.Dest{toID, to(ep.Port()), toGroup(group(0))} {
				e.is(ep.Send(e.ctx, m, dest), connector.ErrClosed, net.ErrClosed)
				e.is(ep.Post(e.ctx, m, dest), connector.ErrClosed)
				_, err := ep.Call(e.ctx, m, dest)
				e.is(err, connector.ErrClosed)
			}
			e.is(ep.Join(e.ctx, group(0)), connector.ErrClosed)
			e.is(ep.Leave(e.ctx, group(0)), connector.ErrClosed)
			_, err := ep.Recv(e.ctx)
			e.is(err, connector.ErrClosed)
		}
		dead(ep)
		require.NoError(e, other.Join(e.ctx, group(0)))
		require.NoError(e, b.Close())
		dead(other)
		e.is(b.AddCallback(e.ctx, id(0), "x", connector.HandlerFunc(e.echo)), connector.ErrClosed)
		e.is(b.DelCallback(e.ctx, id(0)), connector.ErrClosed)
		e.is(b.Send(e.ctx, m, toGroup(group(0))), connector.ErrClosed)
		_, err := b.Endpoint(e.ctx)
		e.is(err, connector.ErrClosed)
		if e.carrier.Caps.Watch {
			_, err = connector.Watch(e.ctx, b, nil)
			e.is(err, connector.ErrClosed)
		}
		if e.carrier.Caps.History {
			e.is(connector.SetHistory(e.ctx, b, group(0), connector.History{}), connector.ErrClosed)
		}
	}},
	{name: "a context that has ended is said before anything is done", run: func(e *env) {
		b := e.bus()
		ep, peer := e.endpoint(b), e.endpoint(b)
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err := ep.Recv(ctx)
		e.is(err, context.Canceled)
		_, err = ep.Call(ctx, text(id(0), "x"), to(peer.Port()))
		e.is(err, context.Canceled)
		e.is(ep.Send(ctx, text(id(0), "x"), to(peer.Port())), context.Canceled)
		e.nothingFor(peer)
	}},
	{name: "everything may be closed at once while everything is in use", need: registry, run: func(e *env) {
		for range 5 {
			agent := e.bus()
			e.register(agent, id(0), e.echo)
			var users sync.WaitGroup
			var buses []connector.Bus
			for i := range 4 {
				b := e.bus()
				ep := e.endpoint(b)
				require.NoError(e, ep.Join(e.ctx, group(0)))
				buses = append(buses, b)
				users.Go(func() {
					for {
						if _, err := ep.Recv(e.ctx); err != nil {
							return
						}
					}
				})
				users.Go(func() {
					for n := 0; ; n++ {
						_, err := ep.Call(e.ctx, numbered(id(0), i, n, 0), toID)
						if err == nil {
							err = ep.Post(e.ctx, numbered(id(0), i, n, 0), toGroup(group(0)))
						}
						if err != nil {
							return
						}
					}
				})
			}
			_, err := e.endpoint().Call(e.ctx, text(id(0), "x"), toID)
			require.NoError(e, err)
			var closers sync.WaitGroup
			for _, b := range append(buses, agent, agent) {
				closers.Go(func() { assert.NoError(e, b.Close()) })
			}
			closers.Wait()
			users.Wait()
			e.eventually("the id is free", func() bool {
				return e.bus().AddCallback(e.ctx, id(0), "x", connector.HandlerFunc(e.echo)) == nil
			})
			require.NoError(e, e.buses[len(e.buses)-1].Close())
			e.eventually("the id is free again", func() bool {
				_, err := e.endpoint().Call(e.ctx, text(id(0), "x"), toID)
				return err != nil
			})
		}
	}},
}
