package bustest

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func waits(c Caps) bool { return c.Wait }

// fill sends numbered messages by send until it waits for room longer than a
// little, and returns how many were taken for sure.
func (e *env) fill(send func(context.Context, int) error) int {
	e.Helper()
	for i := range 4 * e.carrier.Flood {
		ctx, cancel := e.short()
		if i == 0 {
			ctx = e.ctx // there is room, however slow the machine is
		}
		err := send(ctx, i)
		cancel()
		if err != nil {
			e.is(err, context.DeadlineExceeded)
			return i
		}
	}
	require.Fail(e, "the receiver never becomes full")
	return 0
}

// drainSent reads the n messages that were sent, and, if it was delivered
// after all, the one of which the sender heard that it had no time left.
func (e *env) drainSent(ep connector.Endpoint, group uint32, n int) {
	e.Helper()
	var l ledger
	l.drain(e, ep, group, n)
	assert.Zero(e, l.lost)
	marker := e.endpoint()
	require.NoError(e, marker.Send(e.ctx, text(id(9, 9), "marker"), to(ep.Port())))
	ev := e.message(ep)
	if ev.Msg.ID != id(9, 9) {
		l.add(e, ev, group)
		ev = e.message(ep)
	}
	require.Equal(e, id(9, 9), ev.Msg.ID)
}

var waitTests = []test{
	{name: "unicast waits for room, up to its context, and loses nothing", need: waits, opt: small, run: func(e *env) {
		for _, post := range []bool{false, true} {
			a, stuck := e.endpoint(), e.endpoint()
			n := e.fill(func(ctx context.Context, i int) error {
				m := numbered(id(0), 1, i, floodSize)
				if post {
					return a.Post(ctx, m, to(stuck.Port()))
				}
				return a.Send(ctx, m, to(stuck.Port()))
			})
			require.NotZero(e, n)
			e.drainSent(stuck, 0, n)
		}
	}},
	{name: "a sender that waits goes on when its receiver reads", need: waits, opt: small, run: func(e *env) {
		a, slow := e.endpoint(), e.endpoint()
		n := e.carrier.Flood
		sent := e.spawn(func() {
			for i := range n {
				if !assert.NoError(e, a.Send(e.ctx, numbered(id(0), 1, i, floodSize), to(slow.Port()))) {
					return
				}
			}
		})
		var l ledger
		l.drain(e, slow, 0, n)
		assert.Zero(e, l.lost)
		e.await(sent, "the sender's end")
	}},
	{name: "unicast is not lost under a flood of a group", need: func(c Caps) bool { return c.Wait && c.Lost }, opt: small, run: func(e *env) {
		a, flooder, stuck := e.endpoint(), e.endpoint(), e.member(group(0))
		const unicasts = 300
		n := e.carrier.Flood
		sent := e.spawn(func() {
			for i := range unicasts {
				if !assert.NoError(e, a.Send(e.ctx, numbered(id(1), 2, i, floodSize), to(stuck.Port()))) {
					return
				}
			}
		})
		for i := range n {
			require.NoError(e, flooder.Post(e.ctx, numbered(id(0), 1, i, floodSize), toGroup(group(0))))
		}
		var unicast, multicast ledger
		for unicast.next < unicasts || multicast.next < n {
			ev := e.recv(stuck)
			if ev.From.Group == 0 {
				unicast.add(e, ev, 0)
			} else {
				multicast.add(e, ev, group(0))
			}
		}
		assert.Equal(e, ledger{next: unicasts, received: unicasts}, unicast)
		assert.NotZero(e, multicast.lost)
		e.await(sent, "the sender's end")
	}},
	{name: "FullWait to a group goes at the pace of the slowest and loses nothing", need: waits, opt: small, run: func(e *env) {
		a := e.endpoint()
		members := []connector.Endpoint{e.member(group(0)), e.member(group(0)), e.member(group(0))}
		n := e.carrier.Flood
		sent := e.spawn(func() {
			for i := range n {
				send := a.Send
				if i%2 == 1 {
					send = a.Post
				}
				if !assert.NoError(e, send(e.ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Group: group(0), Full: connector.FullWait})) {
					return
				}
			}
		})
		var ledgers [3]ledger
		for at := range n {
			for i, m := range members {
				ledgers[i].drain(e, m, group(0), at+1)
			}
		}
		for i := range members {
			assert.Equal(e, ledger{next: n, received: n}, ledgers[i])
		}
		e.await(sent, "the sender's end")
	}},
	{name: "FullWait to a group ends with its context", need: waits, opt: small, run: func(e *env) {
		a, stuck := e.endpoint(), e.member(group(0))
		n := e.fill(func(ctx context.Context, i int) error {
			return a.Send(ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Group: group(0), Full: connector.FullWait})
		})
		require.NotZero(e, n)
		var l ledger
		l.drain(e, stuck, group(0), n)
		assert.Zero(e, l.lost)
	}},
	{name: "while one receiver is stuck, others and even its sender go on", need: waits, opt: small, run: func(e *env) {
		a, stuck, b, c := e.endpoint(), e.endpoint(), e.endpoint(), e.endpoint()
		n := e.fill(func(ctx context.Context, i int) error {
			return a.Send(ctx, numbered(id(0), 1, i, floodSize), to(stuck.Port()))
		})
		ctx, cancel := context.WithCancel(e.ctx)
		blocked := e.spawn(func() {
			for ctx.Err() == nil {
				if err := a.Send(ctx, numbered(id(0), 1, n, floodSize), to(stuck.Port())); err != nil {
					e.is(err, context.Canceled)
				}
			}
		})
		for i := range 200 {
			for _, pair := range [][2]connector.Endpoint{{a, b}, {b, c}, {stuck, a}} {
				require.NoError(e, pair[0].Send(e.ctx, numbered(id(0), 1, i, 1000), to(pair[1].Port())))
				_, got, err := number(e.message(pair[1]).Msg)
				require.NoError(e, err)
				require.Equal(e, i, got)
			}
		}
		cancel()
		e.await(blocked, "the blocked sender's end")
	}},
	{name: "a slow callback slows who sends to it, and loses nothing", need: func(c Caps) bool { return c.Wait && c.Registry }, opt: small, run: func(e *env) {
		agent, a, b := e.bus(), e.endpoint(), e.endpoint()
		release := make(chan struct{})
		var handled, stopped atomic.Int64
		all := make(chan struct{})
		e.register(agent, id(0), func(_ context.Context, d *connector.Delivery) {
			<-release
			_, n, err := number(d.Msg)
			assert.NoError(e, err)
			assert.EqualValues(e, handled.Load(), n)
			if handled.Add(1) == stopped.Load() {
				close(all)
			}
		})
		e.register(agent, id(1), e.echo)
		n := e.fill(func(ctx context.Context, i int) error { return a.Send(ctx, numbered(id(0), 1, i, floodSize), toID) })
		require.NotZero(e, n)
		for i := range 20 {
			_, err := []connector.Endpoint{a, b}[i%2].Call(e.ctx, text(id(1), "x"), toID)
			require.NoError(e, err)
		}
		stopped.Store(int64(n))
		close(release)
		e.await(all, "all callbacks")
	}},
	{name: "who waits for a busy callback goes on when it does", need: func(c Caps) bool { return c.Wait && c.Registry }, opt: small, run: func(e *env) {
		agent := e.bus()
		const senders = 4
		n := e.carrier.Flood / 2
		var next [senders]int
		count, all := 0, make(chan struct{})
		e.register(agent, id(0), func(_ context.Context, d *connector.Delivery) {
			s, i, err := number(d.Msg)
			assert.NoError(e, err)
			assert.Equal(e, next[s], i)
			next[s]++
			if count++; count == senders*n {
				close(all)
			}
			runtime.Gosched() // let the senders fill its queue
		})
		for s := range senders {
			a := e.endpoint()
			e.spawn(func() {
				for i := range n {
					if !assert.NoError(e, a.Post(e.ctx, numbered(id(0), s, i, floodSize), toID)) {
						return
					}
				}
			})
		}
		e.await(all, "all callbacks")
	}},
	{name: "what is sent with FullDrop to a busy callback does not wait", need: func(c Caps) bool { return c.Wait && c.Registry }, opt: small, run: func(e *env) {
		agent, a := e.bus(), e.endpoint()
		release := make(chan struct{})
		e.register(agent, id(0), func(context.Context, *connector.Delivery) { <-release })
		defer close(release)
		for i := range e.carrier.Flood {
			require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Full: connector.FullDrop}))
		}
	}},
}
