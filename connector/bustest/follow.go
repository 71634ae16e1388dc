package bustest

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func followCap(c Caps) bool { return c.Follow }

// follow follows port on b; the channel gets a word for each call of gone.
func (e *env) follow(b connector.Bus, port uint32) (told <-chan struct{}, stop func()) {
	e.Helper()
	c := make(chan struct{}, 16)
	stop, err := connector.FollowPort(e.ctx, b, port, func() { c <- struct{}{} })
	require.NoError(e, err)
	require.NotNil(e, stop)
	return c, stop
}

// untold checks that nothing is told, after b has been told of the end of some other port that came
// later.
func (e *env) untold(b connector.Bus, c <-chan struct{}) {
	e.Helper()
	ep := e.endpoint()
	later, _ := e.follow(b, ep.Port())
	require.NoError(e, ep.Close())
	e.await(later, "the end of another port")
	select {
	case <-c:
		assert.Fail(e, "told of the end of a port that nobody should be told of")
	default:
	}
}

var followTests = []test{
	{name: "who follows a port is told once that its endpoint is gone", need: followCap, run: func(e *env) {
		a, b := e.bus(), e.bus()
		gone, stays := e.endpoint(b), e.endpoint(b)
		first, _ := e.follow(a, gone.Port())
		second, _ := e.follow(a, gone.Port())
		third, _ := e.follow(e.bus(), gone.Port())
		other, _ := e.follow(a, stays.Port())
		e.untold(a, first)
		require.NoError(e, gone.Close())
		for _, c := range []<-chan struct{}{first, second, third} {
			e.await(c, "word that the port is gone")
		}
		e.untold(a, first)
		e.untold(a, other)
		require.NoError(e, b.Close())
		e.await(other, "word that the bus has taken its endpoint with it")
	}},
	{name: "a port that nobody has is gone at once", need: followCap, run: func(e *env) {
		a := e.bus()
		ep := e.endpoint()
		port := ep.Port()
		require.NoError(e, ep.Close())
		e.eventually("the port is nobody's", func() bool {
			return e.endpoint(a).Send(e.ctx, text(id(0), "x"), to(port)) != nil
		})
		told, stop := e.follow(a, port)
		e.await(told, "word that there is no such port")
		stop()
		told, _ = e.follow(a, 0x0fffffff)
		e.await(told, "word that there never was")
	}},
	{name: "the port of a bus is gone when the bus is", need: func(c Caps) bool { return c.Follow && c.Registry }, run: func(e *env) {
		a, agent, ep := e.bus(), e.bus(), e.endpoint()
		e.register(agent, id(0), e.echo)
		ev, err := ep.Call(e.ctx, text(id(0), "x"), toID)
		require.NoError(e, err)
		told, _ := e.follow(a, ev.From.Port)
		e.untold(a, told)
		require.NoError(e, agent.Close())
		e.await(told, "word that the agent is gone")
	}},
	{name: "after stop nothing is told", need: followCap, run: func(e *env) {
		a := e.bus()
		ep := e.endpoint()
		told, stop := e.follow(a, ep.Port())
		again, _ := e.follow(a, ep.Port())
		stop()
		stop()
		require.NoError(e, ep.Close())
		e.await(again, "word for the one that did not stop")
		e.untold(a, told)
	}},
	{name: "a bus that closes tells those who follow nothing", need: followCap, run: func(e *env) {
		a, ep := e.bus(), e.endpoint()
		var told atomic.Bool
		stop, err := connector.FollowPort(e.ctx, a, ep.Port(), func() { told.Store(true) })
		require.NoError(e, err)
		require.NoError(e, a.Close())
		require.NoError(e, ep.Close())
		stop()
		assert.False(e, told.Load())
		_, err = connector.FollowPort(e.ctx, a, ep.Port(), func() {})
		e.is(err, connector.ErrClosed)
	}},
	{name: "following nothing, or for nobody, is refused", need: followCap, run: func(e *env) {
		b := e.bus()
		_, err := connector.FollowPort(e.ctx, b, 0, func() {})
		e.is(err, connector.ErrInvalid)
		_, err = connector.FollowPort(e.ctx, b, 1, nil)
		e.is(err, connector.ErrInvalid)
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		_, err = connector.FollowPort(ctx, b, 1, func() { e.Error("told in spite of the error") })
		e.is(err, context.Canceled)
	}},
	{name: "a panic of who is told is contained", need: followCap, run: func(e *env) {
		a, ep := e.bus(), e.endpoint()
		_, err := connector.FollowPort(e.ctx, a, ep.Port(), func() { panic("of who is told") })
		require.NoError(e, err)
		told, _ := e.follow(a, ep.Port())
		require.NoError(e, ep.Close())
		e.await(told, "word for the other one")
		e.untold(a, told)
	}},
	{name: "following is limited", need: func(c Caps) bool { return c.Follow && c.Limits }, opt: SiteOptions{Limits: Limits{Follows: 3}}, run: func(e *env) {
		a, ep := e.bus(), e.endpoint()
		var last func()
		for range 3 {
			_, last = e.follow(a, ep.Port())
		}
		_, err := connector.FollowPort(e.ctx, a, ep.Port(), func() {})
		e.is(err, connector.ErrLimit, syscall.EDQUOT)
		last()
		last = nil
		e.eventually("there is room for another", func() bool {
			var err error
			last, err = connector.FollowPort(e.ctx, a, ep.Port(), func() {})
			return err == nil
		})
		require.NoError(e, ep.Close())
		other := e.endpoint()
		e.eventually("what is over does not count", func() bool {
			_, err := connector.FollowPort(e.ctx, a, other.Port(), func() {})
			return err == nil
		})
	}},
	{name: "when the connection is lost all ports are gone", need: followCap, run: func(e *env) {
		a, ep := e.bus(), e.endpoint()
		told, _ := e.follow(a, ep.Port())
		if !e.interrupt() {
			return
		}
		e.await(told, "word of the interruption")
		e.eventually("it can be followed again", func() bool {
			_, err := connector.FollowPort(e.ctx, a, e.endpoint().Port(), func() {})
			return err == nil
		})
		e.untold(a, told)
	}},
}
