package bustest

import (
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func limitCap(c Caps) bool { return c.Limits && c.Registry }

var limitTests = []test{
	{name: "registrations are limited", need: limitCap, opt: SiteOptions{Limits: Limits{Callbacks: 5}}, run: func(e *env) {
		b := e.bus()
		for i := range 5 {
			e.register(b, id(i), e.echo)
		}
		for range 3 {
			e.is(b.AddCallback(e.ctx, id(5), "one more", connector.HandlerFunc(e.echo)), connector.ErrLimit, syscall.EDQUOT)
		}
		_, err := e.endpoint(b).Call(e.ctx, text(id(4), "the rest works"), toID)
		require.NoError(e, err)
		require.NoError(e, b.DelCallback(e.ctx, id(0)))
		e.register(b, id(5), e.echo)
		e.is(b.AddCallback(e.ctx, id(0), "one more", connector.HandlerFunc(e.echo)), connector.ErrLimit)
	}},
	{name: "memberships are limited", need: limitCap, opt: SiteOptions{Limits: Limits{Memberships: 4}}, run: func(e *env) {
		b := e.bus()
		x, y := e.endpoint(b), e.endpoint(b)
		for i := range 2 {
			require.NoError(e, x.Join(e.ctx, group(i)))
			require.NoError(e, x.Join(e.ctx, group(i)), "again")
			require.NoError(e, y.Join(e.ctx, group(i)))
		}
		e.is(x.Join(e.ctx, group(2)), connector.ErrLimit, syscall.EDQUOT)
		require.NoError(e, x.Join(e.ctx, group(0)), "a member already")
		require.NoError(e, y.Leave(e.ctx, group(0)))
		require.NoError(e, x.Join(e.ctx, group(2)))
		e.is(y.Join(e.ctx, group(0)), connector.ErrLimit)
		require.NoError(e, x.Close())
		e.eventually("the closed endpoint's memberships do not count", func() bool { return y.Join(e.ctx, group(0)) == nil })
	}},
	{name: "endpoints are limited", need: limitCap, opt: SiteOptions{Limits: Limits{Endpoints: 3}}, run: func(e *env) {
		b := e.bus()
		var eps []connector.Endpoint
		for {
			ep, err := b.Endpoint(e.ctx)
			if err != nil {
				e.is(err, connector.ErrLimit, syscall.EDQUOT)
				break
			}
			require.LessOrEqual(e, len(eps), 3)
			eps = append(eps, ep)
		}
		require.NotEmpty(e, eps)
		require.NoError(e, eps[0].Close())
		e.eventually("there is room for another", func() bool { _, err := b.Endpoint(e.ctx); return err == nil })
	}},
	{name: "watches are limited", need: func(c Caps) bool { return limitCap(c) && c.Watch }, opt: SiteOptions{Limits: Limits{Watches: 2}}, run: func(e *env) {
		b := e.bus()
		w := e.watcher(b, nil)
		e.watcher(b, cbid.SetOf(id(0)))
		_, err := connector.Watch(e.ctx, b, nil)
		e.is(err, connector.ErrLimit, syscall.EDQUOT)
		require.NoError(e, w.Close())
		e.eventually("there is room for another", func() bool {
			w, err := connector.Watch(e.ctx, b, nil)
			return err == nil && assert.NoError(e, w.Close())
		})
	}},
	{name: "requests to be notified are limited", need: func(c Caps) bool { return limitCap(c) && c.Notify }, opt: SiteOptions{Limits: Limits{Notifies: 3}}, run: func(e *env) {
		ep := e.endpoint()
		one := [][2]uint32{{1, 1}}
		for range 3 {
			require.Zero(e, e.ask(ep, ctl(group(9), one, one)))
		}
		require.EqualValues(e, syscall.EDQUOT, e.ask(ep, ctl(group(9), one, one)))
		require.Zero(e, e.ask(ep, ctl(0, one, one)))
		require.Zero(e, e.ask(ep, ctl(group(9), one, one)))
	}},
}
