package bustest

import (
	"sync/atomic"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func historyCap(c Caps) bool { return c.Registry && c.History && c.Lost }

// historian opens a bus that may give group(0) a history, and a reader that
// keeps the group from being empty.
func (e *env) historian(h connector.History) connector.Bus {
	e.Helper()
	b := e.bus()
	e.register(b, id(0), e.echo)
	e.keeps(b, h)
	e.reader(group(0))
	return b
}

// keeps gives group(0) a history of the kind that is tested.
func (e *env) keeps(b connector.Bus, h connector.History) {
	e.Helper()
	h.Durable = e.carrier.durable
	require.NoError(e, connector.SetHistory(e.ctx, b, group(0), h))
}

// flood is publish without waiting for the confirmations, which a member that does not read
// may delay.
func (e *env) flood(b connector.Bus, from, to, size int) {
	e.Helper()
	for i := from; i < to; i++ {
		require.NoError(e, connector.Post(e.ctx, b, numbered(id(0), 1, i, size), toGroup(group(0))))
	}
}

// publish sends messages number from to to-1 to group(0).
func (e *env) publish(b connector.Bus, from, to, size int) {
	e.Helper()
	for i := from; i < to; i++ {
		require.NoError(e, b.Send(e.ctx, numbered(id(0), 1, i, size), toGroup(group(0))))
	}
}

// resume opens an endpoint that joins group(0) at a position.
func (e *env) resume(at connector.Position) connector.Endpoint {
	e.Helper()
	ep := e.endpoint()
	require.NoError(e, connector.JoinAt(e.ctx, ep, group(0), at))
	return ep
}

func epoch(ep connector.Endpoint) uint64 {
	return ep.(connector.HistoryEndpoint).Epoch(group(0))
}

// kept reads n messages: numbers from first, positions one higher.
func (e *env) kept(ep connector.Endpoint, first, n int) {
	e.Helper()
	for i := first; i < first+n; i++ {
		ev := e.message(ep)
		_, got, err := number(ev.Msg)
		require.NoError(e, err)
		require.Equal(e, i, got)
		require.EqualValues(e, i+1, ev.Pos)
		require.Equal(e, group(0), ev.From.Group)
	}
}

// missing reads an EventLost of n messages.
func (e *env) missing(ep connector.Endpoint, n int) {
	e.Helper()
	ev := e.recv(ep)
	require.Equal(e, connector.EventLost, ev.Kind)
	require.EqualValues(e, n, ev.Lost)
	require.False(e, ev.Unknown)
	require.Equal(e, group(0), ev.From.Group)
}

var historyTests = []test{
	{name: "messages of a group with a history have positions, others have none", need: historyCap, run: func(e *env) {
		b := e.historian(connector.History{Messages: 100})
		ep, plain := e.member(group(0)), e.member(group(1))
		e.publish(b, 0, 5, 20)
		require.NoError(e, b.Send(e.ctx, text(id(1), "x"), toGroup(group(1))))
		e.kept(ep, 0, 5)
		assert.NotZero(e, epoch(ep))
		assert.Zero(e, e.message(plain).Pos)
		assert.Zero(e, epoch(plain))
	}},
	{name: "who joins at a position gets what came after it", need: historyCap, run: func(e *env) {
		b := e.historian(connector.History{Messages: 100})
		first := e.member(group(0))
		e.publish(b, 0, 10, 20)
		at := connector.Position{Epoch: epoch(first), Pos: 4}
		middle, all, end := e.resume(at), e.resume(connector.Position{}), e.resume(connector.Position{Epoch: at.Epoch, Pos: 10})
		e.publish(b, 10, 15, 20)
		e.kept(first, 0, 15)
		e.kept(middle, 4, 11)
		e.kept(all, 0, 15)
		e.kept(end, 10, 5)
		plain := e.member(group(0))
		for _, ep := range []connector.Endpoint{first, middle, all, end, plain} {
			assert.Equal(e, at.Epoch, epoch(ep))
			e.nothingFor(ep)
		}
	}},
	{name: "who comes back when its messages are evicted is told how many, by messages", need: historyCap, here: true, run: func(e *env) {
		b := e.historian(connector.History{Messages: 10})
		e.publish(b, 0, 30, 20)
		ep := e.resume(connector.Position{Epoch: epoch(e.member(group(0))), Pos: 5})
		e.missing(ep, 15)
		e.kept(ep, 20, 10)
		e.nothingFor(ep)
	}},
	{name: "who comes back when its messages are evicted is told how many, by bytes", need: historyCap, here: true, run: func(e *env) {
		b := e.historian(connector.History{Bytes: 10_000})
		e.publish(b, 0, 30, 1000)
		ep := e.resume(connector.Position{Epoch: epoch(e.member(group(0))), Pos: 5})
		ev := e.recv(ep)
		require.Equal(e, connector.EventLost, ev.Kind)
		left := 25 - int(ev.Lost)
		assert.LessOrEqual(e, left, 10)
		assert.GreaterOrEqual(e, left, 9, "10000 bytes hold 9 messages of 1000 and their headers")
		e.kept(ep, 30-left, left)
		e.nothingFor(ep)
	}},
	{name: "who comes back when its messages are evicted is told how many, by age", need: historyCap, here: true, run: func(e *env) {
		b := e.historian(connector.History{Age: 1}) // one nanosecond
		e.publish(b, 0, 30, 20)
		ep := e.resume(connector.Position{Epoch: epoch(e.member(group(0))), Pos: 5})
		e.missing(ep, 25)
		e.nothingFor(ep)
	}},
	{name: "a position of another epoch gives an unknown loss and all that is kept", need: historyCap, run: func(e *env) {
		b := e.historian(connector.History{Messages: 10})
		e.publish(b, 0, 3, 20)
		ep := e.resume(connector.Position{Epoch: epoch(e.member(group(0))) + 1, Pos: 2})
		ev := e.recv(ep)
		require.Equal(e, connector.EventLost, ev.Kind)
		assert.True(e, ev.Unknown)
		e.kept(ep, 0, 3)
	}},
	{name: "a full member loses nothing that the history has", need: historyCap, opt: small, run: func(e *env) {
		n := e.carrier.Flood
		b := e.historian(connector.History{Messages: n})
		stuck := e.member(group(0))
		e.flood(b, 0, n, floodSize)
		e.kept(stuck, 0, n)
		e.publish(b, n, n+5, 20)
		e.kept(stuck, n, 5)
		e.nothingFor(stuck)
	}},
	{name: "a full member is told exactly what the history has no more", need: historyCap, here: true, opt: small, run: func(e *env) {
		n := e.carrier.Flood
		b := e.historian(connector.History{Messages: 50})
		stuck := e.member(group(0))
		e.flood(b, 0, n, floodSize)
		var l ledger
		l.drain(e, stuck, group(0), n)
		assert.NotZero(e, l.lost)
		assert.GreaterOrEqual(e, l.received, 50)
		e.publish(b, n, n+5, 20)
		e.kept(stuck, n, 5)
		e.nothingFor(stuck)
	}},
	{name: "a full member that leaves gets what came before, or is told what of it is lost, and nothing after", need: historyCap, here: true, opt: small, run: func(e *env) {
		n := e.carrier.Flood
		b := e.historian(connector.History{Messages: 2 * n})
		stuck := e.member(group(0))
		e.flood(b, 0, n, floodSize)
		other := e.member(group(1))
		require.NoError(e, b.Send(e.ctx, text(id(1), "the flood is done"), toGroup(group(1))))
		e.message(other)
		require.NoError(e, stuck.Leave(e.ctx, group(0)))
		e.flood(b, n, n+20, floodSize)
		var l ledger
		l.drain(e, stuck, group(0), n)
		e.nothingFor(stuck)
	}},
	{name: "FullWait to a group with a small history loses nothing", here: true, need: func(c Caps) bool { return historyCap(c) && c.Wait }, opt: small, run: func(e *env) {
		n := e.carrier.Flood
		b := e.historian(connector.History{Messages: 2})
		slow := e.member(group(0))
		sent := e.spawn(func() {
			for i := range n {
				if !assert.NoError(e, b.Send(e.ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Group: group(0), Full: connector.FullWait})) {
					return
				}
			}
		})
		e.kept(slow, 0, n)
		e.await(sent, "the sender's end")
	}},
	{name: "who comes and goes misses nothing and gets nothing twice", need: historyCap, run: func(e *env) {
		const n = 600
		b := e.historian(connector.History{Messages: n})
		at := connector.Position{Epoch: epoch(e.member(group(0)))}
		sent := e.spawn(func() {
			for i := range n {
				if !assert.NoError(e, b.Send(e.ctx, numbered(id(0), 1, i, 30), toGroup(group(0)))) {
					return
				}
			}
		})
		for at.Pos < n {
			ep := e.resume(at)
			for range 70 {
				if at.Pos == n {
					break
				}
				e.kept(ep, int(at.Pos), 1)
				at.Pos++
			}
			require.NoError(e, ep.Close())
		}
		e.await(sent, "the sender's end")
	}},
	{name: "several senders and members agree on the positions", need: historyCap, run: func(e *env) {
		const senders, n = 3, 80
		e.historian(connector.History{Messages: 1000})
		members := []connector.Endpoint{e.member(group(0)), e.member(group(0))}
		var failed atomic.Bool
		for s := range senders {
			ep := e.endpoint()
			e.spawn(func() {
				for i := range n {
					if err := ep.Send(e.ctx, numbered(id(0), s, i, 0), toGroup(group(0))); err != nil {
						failed.Store(true)
						return
					}
				}
			})
		}
		seen := map[uint64][2]int{}
		members = append(members, e.resume(connector.Position{}))
		for i, m := range members {
			for k := range senders * n {
				ev := e.message(m)
				require.EqualValues(e, k+1, ev.Pos)
				s, c, err := number(ev.Msg)
				require.NoError(e, err)
				if i == 0 {
					seen[ev.Pos] = [2]int{s, c}
				}
				require.Equal(e, seen[ev.Pos], [2]int{s, c})
			}
		}
		assert.False(e, failed.Load())
	}},
	{name: "only who has the group's id may give it a history", need: historyCap, run: func(e *env) {
		a, b := e.bus(), e.bus()
		e.register(a, id(0), e.echo)
		e.is(connector.SetHistory(e.ctx, b, group(0), connector.History{Messages: 1}), connector.ErrPermission, syscall.EPERM)
		require.NoError(e, connector.SetHistory(e.ctx, a, group(0), connector.History{Messages: 1}))
		e.is(connector.SetHistory(e.ctx, a, group(0), connector.History{Messages: -1}), connector.ErrInvalid)
	}},
	{name: "a history that is no longer kept gives no positions", need: historyCap, here: true, run: func(e *env) {
		b := e.historian(connector.History{Messages: 10})
		ep := e.member(group(0))
		e.publish(b, 0, 3, 20)
		require.NoError(e, connector.SetHistory(e.ctx, b, group(0), connector.History{}))
		e.kept(ep, 0, 3)
		e.publish(b, 3, 4, 20)
		assert.Zero(e, e.message(ep).Pos)
		assert.Zero(e, epoch(ep))
	}},
	{name: "smaller bounds evict at once, larger ones keep more from then on", need: historyCap, here: true, run: func(e *env) {
		b := e.historian(connector.History{Messages: 10})
		e.publish(b, 0, 10, 20)
		e.keeps(b, connector.History{Messages: 4})
		at := connector.Position{Epoch: epoch(e.member(group(0))), Pos: 1}
		ep := e.resume(at)
		e.missing(ep, 5)
		e.kept(ep, 6, 4)
		e.keeps(b, connector.History{Messages: 20})
		e.publish(b, 10, 20, 20)
		ep = e.resume(at)
		e.missing(ep, 5)
		e.kept(ep, 6, 14)
	}},
}
