package rxrpc_test

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// TestCallOptions: what an option says holds for its call, and for that alone.
func TestCallOptions(t *testing.T) {
	key := rxkad.NewKey([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})
	token, err := rxkad.LocalAuth4(key, 3)
	require.NoError(t, err)
	secure, err := rxrpc.SecurityKey(must(rxkad.NewClient(token, rxkad.Encrypt))).Secure(0)
	require.NoError(t, err)
	proven, came := make(chan bool, 10), make(chan struct{}, 100)
	s := serve(t, &rxrpc.ServerConfig{Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, key)})}},
		map[uint16]rxrpc.Handler{
			1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
				proven <- call.Security().Authenticated
				return nil
			}),
			2: rxrpc.HandlerFunc(func(ctx context.Context, _ *rxrpc.ServerCall) error {
				came <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}),
		})
	c := client(t, s, nil)
	conns := func() int { return s.Endpoint().Stats().ServiceConns }
	do := func(service uint16, o ...rxrpc.CallOption) error {
		call, err := c.NewCall(soon(t), service, o...)
		require.NoError(t, err)
		defer call.Close()
		_, err = io.Copy(io.Discard, call)
		return err
	}

	for range 2 {
		require.NoError(t, do(1))
		assert.False(t, <-proven)
	}
	assert.Equal(t, 1, conns())
	for n := range 2 {
		require.NoError(t, do(1, rxrpc.Exclusive()))
		assert.False(t, <-proven)
		assert.Equal(t, 2+n, conns(), "a connection for each")
	}
	require.NoError(t, do(1, rxrpc.Secure(secure)))
	assert.True(t, <-proven)
	assert.Equal(t, 4, conns())
	for hard := 50 * time.Millisecond; len(came) == 0; hard *= 2 { // the server may not have heard of one that was this short
		require.ErrorIs(t, do(2, rxrpc.Within(rxrpc.Timeouts{Hard: hard})), syscall.ETIME)
	}
	assert.Equal(t, 5, conns(), "another service has a connection of its own")
	require.NoError(t, do(1))
	assert.Equal(t, 5, conns(), "the first one is used again")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
