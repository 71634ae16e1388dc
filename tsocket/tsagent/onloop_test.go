package tsagent_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// With Config.Loop what comes is handed over on the loop.
func TestReceiveOnLoop(t *testing.T) {
	l := running(t)
	c := onSink(t, tsagent.Config{Loop: l}).client(t)
	a, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	b, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	const many = 100
	var elsewhere atomic.Int32
	all := make(chan struct{})
	n := 0
	require.True(t, b.Ops().(tsocket.PushOps).Push(func(msgs []tsocket.Message, err error, _ bool) {
		if err != nil {
			return // the end
		}
		if !l.Inside() {
			elsewhere.Add(1)
		}
		if n += len(msgs); n == many {
			close(all)
		}
	}))
	for range many {
		_, err := a.SendTo(soon(t), []byte("hello"), b.LocalAddr())
		require.NoError(t, err)
	}
	<-all
	if runtime.GOOS == "linux" { // elsewhere threads may have no number
		require.Zero(t, elsewhere.Load())
	}
}

// Who has no credit is not read for, and is read for again when it has some.
func TestCreditOnLoop(t *testing.T) {
	s := onLoopback(t, &tsagent.Config{Sinks: true, Policy: tsagent.AllowAll(), Loop: running(t)})
	s.sink, s.window = true, 4<<10
	c := s.client(t)
	a, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	b, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	const many = 50 // several windows
	for i := range many {
		_, err := a.SendTo(soon(t), append(make([]byte, 1000), byte(i)), b.LocalAddr())
		require.NoError(t, err)
	}
	buf := make([]byte, 2000)
	for i := range many {
		n, _, err := b.RecvFrom(soon(t), buf)
		require.NoError(t, err)
		require.Equal(t, 1001, n)
		require.Equal(t, byte(i), buf[1000])
	}
}

// Engines whose datagrams come on a loop, and that send at the end of its turns.
func TestEnginesOnLoop(t *testing.T) {
	l := running(t)
	c, _ := engines(t, func(t testing.TB) *rxrpc.Endpoint {
		d, err := onSink(t, tsagent.Config{Loop: l}).client(t).UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		e, err := rxrpc.OpenOn(d, &rxrpc.Config{Later: l.Post})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e
	})
	callMany(t, c)
}
