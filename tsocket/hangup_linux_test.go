package tsocket

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stream is closed while a write, which the poller tries because a read has waited
// before, is about to be told of a hang-up of its peer: both end, and nothing is watched any more.
func TestCloseWhileAWriteBeginsToWatch(t *testing.T) {
	for range 50 {
		a, b, err := SocketPair()
		require.NoError(t, err)
		ctx, stop := context.WithCancel(context.Background())
		read := a.ReadvSend(ctx, make([]byte, 1))
		await(func() bool { return a.sys.poll.Load() != nil })
		stop()
		_, err = read.Wait(context.Background())
		require.ErrorIs(t, err, context.Canceled)

		arm := &a.fd.writing().op.arm // made here: whoever writes first makes it otherwise
		hangups.mu.Lock()
		wrote, closed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.Writev(context.Background(), make([]byte, 4<<20))
			wrote <- err
		}()
		await(func() bool { // it has written all that there is room for
			arm.mu.Lock()
			defer arm.mu.Unlock()
			return arm.active
		})
		go func() { closed <- a.Close() }()
		await(a.sys.closing)
		hangups.mu.Unlock()
		require.ErrorIs(t, <-wrote, ErrClosed)
		require.NoError(t, <-closed)
		require.NoError(t, b.Close())
	}
	assertNobodyIsWatched(t)
}

// The same with nothing to hold them up: whatever comes first.
func TestCloseBesideAWriteThatBeginsToWatch(t *testing.T) {
	for range 500 {
		a, b, err := SocketPair()
		require.NoError(t, err)
		full := make([]byte, 1<<20)
		_, err = a.TryWrite(full)
		require.NoError(t, err)
		_, err = a.sys.join()
		require.NoError(t, err)
		wrote := make(chan error, 1)
		go func() {
			_, err := a.Writev(context.Background(), full)
			wrote <- err
		}()
		await(func() bool { return a.fd.wr.Load() != nil })
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-wrote, ErrClosed)
		require.NoError(t, b.Close())
	}
	assertNobodyIsWatched(t)
}

func await(ok func() bool) {
	for !ok() {
		runtime.Gosched()
	}
}

func assertNobodyIsWatched(t *testing.T) {
	hangups.mu.Lock()
	defer hangups.mu.Unlock()
	assert.Empty(t, hangups.tab)
}
