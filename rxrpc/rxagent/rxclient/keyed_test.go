package rxclient_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// slowKeys are found when they may be; they are none.
type slowKeys struct{ asked, found chan struct{} }

func (k *slowKeys) RequestKey(string) (rxrpc.ClientKey, error) {
	k.asked <- struct{}{}
	<-k.found
	return rxrpc.NullKey(""), nil
}

func (k *slowKeys) RequestKeyring(string) (rxrpc.ServerKeyring, error) { return nil, nil }

// TestCallsGivenUpBeforeTheirKeyIsThere: a call that ends while the agent looks for its key is not taken for the one that has its memory by then: that
// keeps its own socket, and goes on.
func TestCallsGivenUpBeforeTheirKeyIsThere(t *testing.T) {
	site := within(t)
	server, err := rxrpc.Open(local4, nil)
	require.NoError(t, err)
	srv := rxrpc.NewServer(server, nil)
	t.Cleanup(func() {
		_ = srv.Close()
		_ = server.Close()
	})
	require.NoError(t, srv.Handle(52, echoStream))
	c := site.conn(t)
	keys := &slowKeys{make(chan struct{}, 1), make(chan struct{})}
	site.keys.set(c.Port(), keys)
	e, err := c.Open(local4, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	plain := e.Client(server.LocalAddr(), nil)
	keyed := e.Client(server.LocalAddr(), &rxrpc.ClientConfig{Security: rxclient.NamedKey("afs@example.org")})

	ctx, cancel := context.WithCancel(soon(t))
	given := make(chan error, 1)
	go func() {
		_, err := keyed.Call(ctx, 52, []byte("x"))
		given <- err
	}()
	<-keys.asked
	cancel()
	require.ErrorIs(t, <-given, context.Canceled)

	// More calls than there is memory given back, all of them in the middle of their request.
	var calls []*rxrpc.Call
	for range 4 {
		call, err := plain.NewCall(soon(t), 52)
		require.NoError(t, err)
		_, err = call.Write(pattern(5000))
		require.NoError(t, err)
		calls = append(calls, call)
	}
	close(keys.found)
	_, err = keyed.Call(soon(t), 52, []byte("x")) // its socket is there
	require.NoError(t, err)
	for i, call := range calls {
		_, err := call.Write(pattern(5000))
		require.NoError(t, err, "call %d", i)
		require.NoError(t, call.CloseWrite())
		got, err := io.ReadAll(call)
		require.NoError(t, err, "call %d", i)
		assert.Len(t, got, 10000)
	}
}
