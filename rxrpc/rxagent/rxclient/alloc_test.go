//go:build !race

package rxclient_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestCallAllocates: the figures are of all that a call needs, on both sides and in the agent, which all are this process here.
func TestCallAllocates(t *testing.T) {
	s := within(t)
	se, err := s.conn(t).Open(local4, nil)
	require.NoError(t, err)
	defer se.Close()
	server := rxrpc.NewServer(se, nil)
	defer server.Close()
	require.NoError(t, server.Handle(1, echo))
	c, err := s.conn(t).Dial(se.LocalAddr().String(), nil)
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	request, reply := pattern(1000), make([]byte, 0, 2000)
	call := func() {
		var err error
		reply, err = c.AppendCall(ctx, reply[:0], 1, request)
		if err != nil || len(reply) != len(request) {
			t.Fatal(err, len(reply))
		}
	}
	for range 100 {
		call()
	}
	n := testing.AllocsPerRun(1000, call)
	t.Logf("%.1f allocations per call", n)
	assert.LessOrEqual(t, n, 5.0) // one for each side's call in the agent, one for what the handler is given
}

// TestBulkAllocates little for each message of the bus.
func TestBulkAllocates(t *testing.T) {
	s := within(t)
	se, err := s.conn(t).Open(local4, nil)
	require.NoError(t, err)
	defer se.Close()
	server := rxrpc.NewServer(se, nil)
	defer server.Close()
	const much = 4 << 20
	require.NoError(t, server.Handle(1, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		_, err := call.Write(make([]byte, much))
		return err
	})))
	c, err := s.conn(t).Dial(se.LocalAddr().String(), nil)
	require.NoError(t, err)
	defer c.Close()
	n := testing.AllocsPerRun(5, func() {
		call, err := c.NewCall(context.Background(), 1)
		require.NoError(t, err)
		k, err := io.Copy(io.Discard, call)
		require.NoError(t, err)
		require.EqualValues(t, much, k)
	})
	messages := 2.0 * much / 16000
	t.Logf("%.1f allocations for %.0f messages", n, messages)
	assert.LessOrEqual(t, n, messages)
}
