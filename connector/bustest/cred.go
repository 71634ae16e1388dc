package bustest

import (
	"context"
	"os"

	"github.com/cnbus/cnbus/connector"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var credTests = []test{
	{name: "messages, callbacks, replies and registrations carry this process's credentials", need: func(c Caps) bool { return c.Cred && c.Registry }, run: func(e *env) {
		me := connector.Cred{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: uint32(os.Getpid())}
		agent, a, b := e.bus(), e.endpoint(), e.member(group(0))
		creds := make(chan connector.Cred, 1)
		e.register(agent, id(0), func(ctx context.Context, d *connector.Delivery) {
			creds <- d.From.Cred
			assert.NoError(e, d.Reply(ctx, nil))
		})
		for _, dest := range []connector.Dest{to(b.Port()), toGroup(group(0))} {
			require.NoError(e, a.Send(e.ctx, text(id(0), "x"), dest))
			assert.Equal(e, me, e.message(b).From.Cred)
			require.NoError(e, agent.Send(e.ctx, text(id(0), "x"), dest))
			assert.Equal(e, me, e.message(b).From.Cred)
		}
		ev, err := a.Call(e.ctx, text(id(0), "x"), toID)
		require.NoError(e, err)
		assert.Equal(e, me, ev.From.Cred)
		assert.Equal(e, me, <-creds)
	}},
	{name: "messages carry this process's credentials", need: func(c Caps) bool { return c.Cred && !c.Registry }, run: func(e *env) {
		me := connector.Cred{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: uint32(os.Getpid())}
		a, b := e.endpoint(), e.member(group(0))
		for _, dest := range []connector.Dest{to(b.Port()), toGroup(group(0))} {
			require.NoError(e, a.Send(e.ctx, text(id(0), "x"), dest))
			assert.Equal(e, me, e.message(b).From.Cred)
		}
	}},
}
