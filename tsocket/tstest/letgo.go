package tstest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A context that outlives many streams holds on to none that is closed.
func streamLetsGo(t *testing.T, k Streams) {
	ctx := newWatchedCtx()
	for range 3 {
		a, b := k.Pair(t)
		r := b.ReadvSend(ctx, make([]byte, 5))
		_, err := a.Writev(ctx, []byte("hello"))
		require.NoError(t, err)
		_, err = r.Wait(ctx)
		require.NoError(t, err)
		reading := begin(func() error { _, err := b.ReadSome(ctx, make([]byte, 1)); return err })
		_, err = a.Writev(ctx, []byte("x"))
		require.NoError(t, err)
		require.NoError(t, <-reading)
		reading = begin(func() error { _, err := b.Readv(ctx, make([]byte, 1)); return err })
		require.NoError(t, a.Close())
		require.Error(t, <-reading)
		require.NoError(t, b.Close())
	}
	await(t, "contexts are let go", func() bool { return ctx.held.Load() == 0 })
}

// Nor on a datagram socket.
func dgramLetsGo(t *testing.T, k Dgrams) {
	ctx := newWatchedCtx()
	a, b := k.Pair(t)
	receive := func() error { _, _, err := b.RecvFrom(ctx, make([]byte, 64<<10)); return err }
	receiving := begin(receive)
	_, err := a.SendTo(ctx, []byte("x"), k.to(b))
	require.NoError(t, err)
	require.NoError(t, <-receiving)
	receiving = begin(receive)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	require.Error(t, <-receiving)
	await(t, "contexts are let go", func() bool { return ctx.held.Load() == 0 })
}

// watchedCtx is a context that knows who waits for its end.
type watchedCtx struct {
	context.Context
	done chan struct{}
	held atomic.Int64
}

func newWatchedCtx() *watchedCtx {
	return &watchedCtx{Context: background, done: make(chan struct{})}
}

func (c *watchedCtx) Done() <-chan struct{} { return c.done }

// AfterFunc is what package context calls instead of starting a goroutine.
func (c *watchedCtx) AfterFunc(func()) (stop func() bool) {
	c.held.Add(1)
	var once sync.Once
	return func() (first bool) {
		once.Do(func() { c.held.Add(-1); first = true })
		return first
	}
}
