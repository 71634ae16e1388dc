package rxclient_test

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// guests may call, and nothing else.
type guests struct{}

func (guests) Call(connector.From, rxrpc.Addr) error { return nil }
func (guests) Listen(connector.From, rxrpc.Addr) error {
	return errors.Join(errors.New("guests do not listen"), syscall.EACCES)
}

// TestAGuestFindsTheAgentAgain: a client that may not have a port of its own is served by another agent as it was by the first.
func TestAGuestFindsTheAgentAgain(t *testing.T) {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	defer e.Close()
	server := rxrpc.NewServer(e, nil)
	defer server.Close()
	require.NoError(t, server.Handle(7, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	})))

	hub := loopback.New(nil)
	agent := func() func() {
		bus := hub.Open()
		cfg := agentConfig(newKeys())
		cfg.Policy = guests{}
		a, err := rxagent.New(soon(t), bus, cfg)
		require.NoError(t, err)
		return func() {
			assert.NoError(t, a.Close())
			assert.NoError(t, bus.Close())
		}
	}
	stop := agent()
	bus := hub.Open()
	defer bus.Close()
	c, err := rxclient.Dial(soon(t), bus, nil)
	require.NoError(t, err)
	defer c.Close()
	client, err := c.Dial(e.LocalAddr().String(), nil)
	require.NoError(t, err)
	defer client.Close()
	for range 2 {
		ctx := soon(t)
		reply, err := client.Call(ctx, 7, []byte("x"))
		for errors.Is(err, rxclient.ErrDown) && ctx.Err() == nil { // the old agent's end was not noticed yet
			reply, err = client.Call(ctx, 7, []byte("x"))
		}
		require.NoError(t, err)
		assert.Equal(t, "x", string(reply))
		stop()
		stop = agent()
	}
	stop()
}
