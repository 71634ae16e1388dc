package rxrpc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// TestServiceIsServedAgain: clients that have connections to a service which was closed reach the one that has come in its place; those
// that have proven themselves do so again.
func TestServiceIsServedAgain(t *testing.T) {
	key := rxkad.NewKey([]byte("\xa7\x83\x8a\xcb\xc7\x83\xec\x94"))
	token, err := rxkad.LocalAuth4(key, 3)
	require.NoError(t, err)
	e, err := rxrpc.Open(local4, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	serve := func() *rxrpc.Server {
		s := rxrpc.NewServer(e, &rxrpc.ServerConfig{
			Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, key)})},
		})
		require.NoError(t, s.Handle(52, echo))
		return s
	}
	first := serve()
	t.Cleanup(rxrpc.CloseShared)
	plain, err := rxrpc.Dial(e.LocalAddr().String(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = plain.Close() })
	secure, err := rxkad.NewClient(token, rxkad.Encrypt)
	require.NoError(t, err)
	proven, err := rxrpc.Dial(e.LocalAddr().String(), &rxrpc.ClientConfig{Security: secure})
	require.NoError(t, err)
	t.Cleanup(func() { _ = proven.Close() })
	clients := []*rxrpc.Client{plain, proven}
	call := func(c *rxrpc.Client) error {
		_, err := c.Call(soon(t), 52, []byte("x"))
		return err
	}
	for _, c := range clients {
		require.NoError(t, call(c))
	}
	require.NoError(t, first.Close())
	second := serve()
	t.Cleanup(func() { _ = second.Close() })
	require.NoError(t, call(plain))
	var a *rxrpc.AbortError
	require.ErrorAs(t, call(proven), &a, "its connection is over")
	assert.Equal(t, rxrpc.CallDead, a.Code)
	require.NoError(t, call(proven), "the next is another")
}
