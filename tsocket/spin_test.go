package tsocket_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

func setNoLinger(fd int) error {
	return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func cpuTime(t testing.TB) time.Duration {
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// assertIdle fails if the process uses more than a fifth of a processor whenever wait waits for d. Something else
// of it, as what collects garbage or ends goroutines, may cost time in one stretch; who spins does so in each.
func assertIdle(t testing.TB, d time.Duration, wait func(context.Context)) {
	t.Helper()
	var used time.Duration
	for range 20 {
		before := cpuTime(t)
		wait(shortlyFor(t, d))
		if used = cpuTime(t) - before; used < d/5 {
			return
		}
	}
	assert.Less(t, used, d/5, "it spins")
}

// justWait waits until ctx has ended.
func justWait(ctx context.Context) { <-ctx.Done() }

// TestSpin: idle sockets whose peers have finished writing, and full ones, cost no
// processor time, with everything outstanding that can be.
func TestSpin(t *testing.T) {
	onlyLinux(t)
	var open []*tsocket.Request[int64]
	for _, p := range streamPairs {
		// The peer has finished writing; a write waits, half-open.
		a, b := full(t, p.make)
		a.SetHalfOpen(true)
		require.NoError(t, b.CloseWrite(background))
		_, err := a.Readv(soon(t), make([]byte, 1))
		require.ErrorIs(t, err, tsocket.ErrEOF)
		_, err = a.MonitorSend(background).Wait(soon(t))
		require.Error(t, err)
		open = append(open, a.WritevSend(background, make([]byte, 4<<20)))

		// Nothing happens; a read waits, and a monitor.
		c, _ := p.make(t)
		c.MonitorSend(background)
		r := c.ReadvSend(background, make([]byte, 1))
		r.Done()
		open = append(open, r)
	}
	a, b, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	closeLater(t, a, b)
	for r := a.SendToSend(background, []byte("x"), tsocket.Addr{}); !r.InProgress(); {
		r = a.SendToSend(background, []byte("x"), tsocket.Addr{})
	}

	assertIdle(t, 500*time.Millisecond, func(ctx context.Context) {
		_, err = open[0].Wait(ctx)
		require.ErrorIs(t, err, tsocket.ErrTimeout)
	})
	for _, r := range open {
		assert.True(t, r.InProgress())
	}
}
