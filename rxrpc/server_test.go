package rxrpc_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

func TestLimits(t *testing.T) {
	h := newStuck()
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: h})
	e := open(t, local4, &rxrpc.Config{Limits: rxrpc.Limits{ClientCalls: 2}})
	c := e.Client(s.Endpoint().LocalAddr(), nil)
	ctx, cancel := context.WithCancel(soon(t))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			_, err := c.Call(ctx, 1, nil)
			assert.ErrorIs(t, err, context.Canceled)
		})
		wait(t, h.came)
	}
	_, err := c.Call(soon(t), 1, nil)
	require.ErrorIs(t, err, rxrpc.ErrLimit)
	require.ErrorIs(t, err, syscall.ENOBUFS)
	call, err := c.NewCall(soon(t), 1)
	require.NoError(t, err)
	_, err = call.Write([]byte("x"))
	require.ErrorIs(t, err, rxrpc.ErrLimit)
	cancel()
	wg.Wait()
}

func TestTraceHooksAndLog(t *testing.T) {
	var mu sync.Mutex
	var trace, logged bytes.Buffer
	ended := 0
	cfg := &rxrpc.Config{
		Hooks: &rxrpc.Hooks{
			Packet: rxrpc.TraceTo(&locked{&mu, &trace}),
			CallEnded: func(_ netip.AddrPort, service uint16, client bool, err error) {
				mu.Lock()
				defer mu.Unlock()
				ended++
				assert.True(t, client)
			},
			RTT: func(_ netip.AddrPort, smoothed, rto time.Duration) {
				assert.Positive(t, smoothed)
				assert.Greater(t, rto, smoothed)
			},
		},
		Logger: slog.New(slog.NewTextHandler(&locked{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s := serve(t, nil, map[uint16]rxrpc.Handler{1: echo})
	e := open(t, local4, cfg)
	c := e.Client(s.Endpoint().LocalAddr(), nil)
	_, err := c.Call(soon(t), 1, []byte("hello"))
	require.NoError(t, err)
	_, err = c.Call(soon(t), 7, nil)
	require.Error(t, err)
	require.NoError(t, e.Close())
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, 2, ended)
	assert.Contains(t, trace.String(), "DATA")
	assert.Contains(t, trace.String(), "> "+s.Endpoint().LocalAddr().String())
	assert.Contains(t, trace.String(), "< "+s.Endpoint().LocalAddr().String())
	for line := range strings.Lines(trace.String()) {
		assert.True(t, strings.HasSuffix(line, "\n"))
	}
	assert.Contains(t, logged.String(), "connection opened")
	assert.Contains(t, logged.String(), "call failed")
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
