package bustest

import (
	"context"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func lost(c Caps) bool { return c.Lost }

// Floods are posted: a Send to a member that does not read may wait, because its
// confirmation says that the member has the message.
var small = SiteOptions{Small: true}

const floodSize = 8 << 10

// ledger follows the messages 0, 1, 2 ... of one sender to one receiver: what
// arrives must be the message after those that arrived and those that were told to be lost.
type ledger struct {
	next     int // number of the next message
	received int
	lost     int
}

// add counts an event; it must be of the group, whole and in its place.
func (l *ledger) add(e *env, ev connector.Event, group uint32) {
	e.Helper()
	require.Equal(e, group, ev.From.Group)
	switch ev.Kind {
	case connector.EventMessage:
		_, n, err := number(ev.Msg)
		require.NoError(e, err)
		require.Equal(e, l.next, n, "%d received, %d lost before", l.received, l.lost)
		l.received++
		l.next++
	case connector.EventLost:
		require.NotZero(e, ev.Lost)
		require.False(e, ev.Unknown)
		l.lost += int(ev.Lost)
		l.next += int(ev.Lost)
	default:
		require.Fail(e, "unexpected event", "%v: %v", ev.Kind, ev.Err)
	}
}

// drain reads what ep has until n messages are accounted for.
func (l *ledger) drain(e *env, ep connector.Endpoint, group uint32, n int) {
	e.Helper()
	for l.next < n {
		l.add(e, e.recv(ep), group)
	}
	require.Equal(e, n, l.next, "more was told to be lost than was sent")
}

var lossTests = []test{
	{name: "a full member of a group is told how many it lost, where they are missing", need: lost, opt: small, run: func(e *env) {
		a, stuck := e.endpoint(), e.member(group(0))
		n := e.carrier.Flood
		for i := range n {
			require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, i, floodSize), toGroup(group(0))))
		}
		var l ledger
		l.drain(e, stuck, group(0), n)
		assert.NotZero(e, l.lost, "the flood of %d messages fits in the queues: raise Carrier.Flood", n)
		assert.NotZero(e, l.received)
		// It is over: what comes now comes whole.
		for range 3 {
			require.NoError(e, a.Send(e.ctx, numbered(id(0), 1, n, 100), toGroup(group(0))))
			n++
			before := l.lost
			l.drain(e, stuck, group(0), n)
			assert.Equal(e, before, l.lost)
		}
		e.nothingFor(stuck)
	}},
	{name: "losses of several groups are told apart, again and again", need: lost, opt: small, run: func(e *env) {
		stuck := e.member(group(0), group(1), group(2))
		a := e.endpoint()
		var ledgers [3]ledger
		n := 0
		for range 3 {
			for range e.carrier.Flood / 3 {
				for g := range ledgers {
					require.NoError(e, a.Post(e.ctx, numbered(id(g), 1, n, floodSize), toGroup(group(g))))
				}
				n++
			}
			// A confirmed message: all Posts before it are done.
			require.NoError(e, a.Send(e.ctx, numbered(id(0), 1, n, 0), toGroup(group(0))))
			for g := 1; g < 3; g++ {
				require.NoError(e, a.Send(e.ctx, numbered(id(g), 1, n, 0), toGroup(group(g))))
			}
			n++
			for ledgers[0].next < n || ledgers[1].next < n || ledgers[2].next < n {
				ev := e.recv(stuck)
				require.GreaterOrEqual(e, ev.From.Group, group(0))
				require.LessOrEqual(e, ev.From.Group, group(2))
				ledgers[ev.From.Group-group(0)].add(e, ev, ev.From.Group)
			}
		}
		for g := range ledgers {
			assert.Equal(e, n, ledgers[g].next)
			assert.NotZero(e, ledgers[g].lost)
		}
	}},
	{name: "losses are told where they are, however much is read between them", need: lost, opt: small, run: func(e *env) {
		a, slow := e.endpoint(), e.member(group(0))
		var l ledger
		n := 0
		for round := range 6 {
			for range e.carrier.Flood {
				require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, n, floodSize), toGroup(group(0))))
				n++
			}
			for range 3 + 4*round { // more each time
				if l.next < n {
					l.add(e, e.recv(slow), group(0))
				}
			}
		}
		l.drain(e, slow, group(0), n)
		assert.NotZero(e, l.lost)
	}},
	{name: "a stuck member harms no other member, and not the sender", need: lost, opt: small, run: func(e *env) {
		a, stuck, fast := e.endpoint(), e.member(group(0)), e.member(group(0))
		n := e.carrier.Flood
		var l ledger
		for i := range n {
			require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, i, floodSize), toGroup(group(0))))
			l.add(e, e.recv(fast), group(0))
		}
		assert.Equal(e, ledger{next: n, received: n}, l, "who reads loses nothing")
		var s ledger
		s.drain(e, stuck, group(0), n)
		assert.NotZero(e, s.lost)
	}},
	{name: "unicast sent with FullDrop is dropped, counted and told", need: lost, opt: small, run: func(e *env) {
		a, stuck := e.endpoint(), e.endpoint()
		n := e.carrier.Flood
		for i := range n {
			require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, i, floodSize), connector.Dest{Port: stuck.Port(), Full: connector.FullDrop}))
		}
		var l ledger
		l.drain(e, stuck, 0, n)
		assert.NotZero(e, l.lost)
		assert.NotZero(e, l.received)
	}},
	{name: "replies to who does not read are dropped, counted and told, and the agent goes on", opt: small, need: func(c Caps) bool { return c.Lost && c.Registry }, run: func(e *env) {
		agent, stuck, other := e.bus(), e.endpoint(), e.endpoint()
		n := e.carrier.Flood
		var count atomic.Int32
		done := make(chan struct{})
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			reply := numbered(id(0), 1, int(count.Load()), floodSize)
			assert.NoError(e, d.Reply(ctx, reply.Data))
			if int(count.Add(1)) == n {
				close(done)
			}
		})
		e.register(agent, id(1), e.echo)
		for i := range n {
			require.NoError(e, stuck.Send(e.ctx, connector.Message{ID: id(0), Seq: uint32(i)}, toID))
		}
		e.await(done, "all replies to be sent")
		_, err := other.Call(e.ctx, text(id(1), "x"), toID)
		require.NoError(e, err)
		var l ledger
		l.drain(e, stuck, 0, n)
		assert.NotZero(e, l.lost)
	}},
	{name: "a member that left before it read is told what it lost until then", need: lost, opt: small, run: func(e *env) {
		a, stuck, keep := e.endpoint(), e.member(group(0)), e.member(group(0))
		n := e.carrier.Flood
		for i := range n {
			require.NoError(e, a.Post(e.ctx, numbered(id(0), 1, i, floodSize), toGroup(group(0))))
		}
		require.NoError(e, a.Send(e.ctx, numbered(id(0), 1, n, 0), toGroup(group(0))))
		require.NoError(e, stuck.Leave(e.ctx, group(0)))
		require.NoError(e, a.Send(e.ctx, numbered(id(0), 1, n+1, 0), toGroup(group(0))))
		var l ledger
		l.drain(e, stuck, group(0), n+1)
		assert.NotZero(e, l.lost)
		e.nothingFor(stuck)
		var k ledger
		k.drain(e, keep, group(0), n+2)
	}},
}
