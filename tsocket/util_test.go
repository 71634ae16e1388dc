package tsocket_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

func ctxAfter(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, d)
}

// fill writes until the stream would wait, and returns how much that was.
func fill(t testing.TB, s *tsocket.Stream) int64 {
	ops, ok := s.Ops().(tsocket.TryStreamOps)
	require.True(t, ok)
	var sum int64
	b := make([]byte, 64<<10)
	for {
		n, err := ops.TryWrite([][]byte{b})
		if err != nil {
			require.Equal(t, tsocket.ErrAgain, err)
			if len(b) == 1 {
				return sum
			}
			b = b[:len(b)/2]
			continue
		}
		sum += int64(n)
	}
}

// full returns a pair whose first end has written until nothing more
// goes, also after what is on the way has arrived.
func full(t testing.TB, make func(t testing.TB) (a, b *tsocket.Stream)) (a, b *tsocket.Stream) {
	a, b = make(t)
	for quiet := 0; quiet < 3; {
		if fill(t, a) > 0 {
			quiet = 0
			continue
		}
		quiet++
		pollOut(t, a, 20)
	}
	return a, b
}

// pollOut waits that many milliseconds for room to write.
func pollOut(t testing.TB, s *tsocket.Stream, ms int) {
	require.NoError(t, s.SyscallFD(func(fd int) error {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		_, err := unix.Poll(p[:], ms)
		if err == syscall.EINTR {
			return nil
		}
		return err
	}))
}

// waitReadable waits until bytes, the end or an error are there to be read.
func waitReadable(t testing.TB, s *tsocket.Stream) {
	t.Helper()
	require.NoError(t, s.SyscallFD(untilReadable))
}

func untilReadable(fd int) error {
	for {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p[:], 120_000)
		switch {
		case err == syscall.EINTR:
			continue
		case err == nil && n == 0:
			return syscall.ETIMEDOUT
		}
		return err
	}
}

// readAll reads n bytes.
func readAll(t testing.TB, s *tsocket.Stream, n int) []byte {
	b := make([]byte, n)
	_, err := s.Readv(soon(t), b)
	require.NoError(t, err)
	return b
}

func write(t testing.TB, s *tsocket.Stream, text string) {
	_, err := s.Writev(soon(t), []byte(text))
	require.NoError(t, err)
}
