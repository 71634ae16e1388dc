//go:build !race

package rxrpc_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// TestCallAllocates: a call costs its server one object, what the handler is given, and its client none.
func TestCallAllocates(t *testing.T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: echo})
	c := client(t, s, nil)
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
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, call), 1.0)
}

// TestReceivedPacketAllocatesNothing: much data in both directions costs as many
// allocations as little.
func TestReceivedPacketAllocatesNothing(t *testing.T) {
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		buf := make([]byte, 64<<10)
		for {
			_, err := call.Read(buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
		for range 64 {
			if _, err := call.Write(buf); err != nil {
				return err
			}
		}
		return nil
	})})
	c := client(t, s, nil)
	buf := make([]byte, 64<<10)
	run := func() {
		call, err := c.NewCall(context.Background(), 1)
		require.NoError(t, err)
		for range 64 {
			_, err := call.Write(buf)
			require.NoError(t, err)
		}
		n := 0
		for {
			k, err := call.Read(buf)
			n += k
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		require.Equal(t, 64*len(buf), n)
	}
	for range 10 {
		run()
	}
	const packets = 2 * 64 * 64 << 10 / 1444
	assert.Less(t, testing.AllocsPerRun(20, run), packets*0.01, "of %d packets", packets)
}

func BenchmarkCall(b *testing.B) {
	s := serve(b, nil, map[uint16]rxrpc.Handler{1: echo})
	c := client(b, s, nil)
	request := pattern(8)
	var reply []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if reply, err = c.AppendCall(context.Background(), reply[:0], 1, request); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCalls64(b *testing.B) {
	s := serve(b, nil, map[uint16]rxrpc.Handler{1: echo})
	c := client(b, s, nil)
	request := pattern(8)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		var reply []byte
		for pb.Next() {
			var err error
			if reply, err = c.AppendCall(context.Background(), reply[:0], 1, request); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkBulk(b *testing.B) {
	s := serve(b, nil, map[uint16]rxrpc.Handler{1: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		_, err := io.Copy(io.Discard, call)
		return err
	})})
	c := client(b, s, nil)
	buf := make([]byte, 64<<10)
	call, err := c.NewCall(context.Background(), 1)
	require.NoError(b, err)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := call.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, call.CloseWrite())
	_, err = io.ReadAll(call)
	require.NoError(b, err)
}
