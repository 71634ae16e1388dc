package tsocket_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// What Samba's own tests hold a stream to, whose send buffer is full while a
// write waits, and what else a peer can do.
func TestPeer(t *testing.T) {
	onlyLinux(t)
	eachPair(t, "finishes writing while a write waits: ECONNRESET", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		w := a.WritevSend(background, make([]byte, 4<<20))
		require.NoError(t, b.CloseWrite(background))
		_, err := w.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err)
		_, err = a.Readv(background, make([]byte, 1))
		isErrno(t, syscall.ECONNRESET, err, "sticky")
	})
	eachPair(t, "finished writing before the write began to wait", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		require.NoError(t, b.CloseWrite(background))
		waitReadable(t, a)
		_, err := a.Writev(soon(t), make([]byte, 4<<20))
		isErrno(t, syscall.ECONNRESET, err)
	})
	eachPair(t, "the same blocking, with and without a context", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		failed := make(chan error, 1)
		go func() {
			_, err := a.Writev(background, make([]byte, 4<<20))
			failed <- err
		}()
		require.NoError(t, b.CloseWrite(background))
		isErrno(t, syscall.ECONNRESET, <-failed)
	})
	eachPair(t, "finishes writing while a write waits, half-open: it goes on", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		a.SetHalfOpen(true)
		w := a.WritevSend(background, make([]byte, 4<<20))
		require.NoError(t, b.CloseWrite(background))
		_, err := a.Readv(soon(t), make([]byte, 1))
		assert.ErrorIs(t, err, tsocket.ErrEOF)
		assert.True(t, w.InProgress())
		drainUntil(t, b, w.Done())
		_, err = w.Wait(soon(t))
		require.NoError(t, err)
	})
	eachPair(t, "writes and does not read: the write times out", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		write(t, b, "hello")
		w := a.WritevSend(background, make([]byte, 4<<20))
		w.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := w.Wait(soon(t))
		isErrno(t, syscall.ETIMEDOUT, err)
		assert.Equal(t, "hello", string(readAll(t, a, 5)))
	})
	eachPair(t, "writes, and finishes writing while a write waits", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		w := a.WritevSend(background, make([]byte, 4<<20))
		write(t, b, "hello")
		require.NoError(t, b.CloseWrite(background))
		_, err := w.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err)
	})
	eachPair(t, "closes while a write waits", func(t *testing.T, pair makePair) {
		a, b := full(t, pair)
		w := a.WritevSend(background, make([]byte, 4<<20))
		require.NoError(t, b.Close())
		_, err := w.Wait(soon(t))
		assert.Contains(t, []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE}, tsocket.Errno(err))
	})
	t.Run("resets: ECONNRESET for a read and a monitor", func(t *testing.T) {
		a, b := tcpPair(t)
		r, m := a.ReadvSend(background, make([]byte, 1)), a.MonitorSend(background)
		require.NoError(t, b.SyscallFD(func(fd int) error {
			return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}))
		require.NoError(t, b.Close())
		_, err := r.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err)
		_, err = m.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err, "whoever took it off the socket")
	})
	t.Run("resets: ECONNRESET for each direction on its own", func(t *testing.T) {
		for _, try := range []bool{false, true} {
			a, b := tcpPair(t)
			a.SetHalfOpen(true)
			require.NoError(t, b.SyscallFD(func(fd int) error {
				return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			}))
			require.NoError(t, b.Close())
			_, err := a.Readv(background, make([]byte, 1))
			isErrno(t, syscall.ECONNRESET, err)
			if try {
				_, err = a.TryWrite([]byte("x"))
			} else {
				_, err = a.Writev(background, []byte("x"))
			}
			isErrno(t, syscall.ECONNRESET, err, "the kernel says it once")
		}
	})
	t.Run("vanishes: ETIMEDOUT after the user timeout", func(t *testing.T) {
		a, _ := full(t, tcpPair)
		// Nothing is acknowledged any more: the window is closed, and stays so.
		require.NoError(t, a.SetUserTimeout(100*time.Millisecond))
		w := a.WritevSend(background, make([]byte, 4<<20))
		_, err := w.Wait(soon(t))
		isErrno(t, syscall.ETIMEDOUT, err)
	})
	eachPair(t, "monitors work together with a read that gets all data first", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		buf := make([]byte, 3)
		r, m := a.ReadvSend(background, buf), a.MonitorSend(background)
		write(t, b, "abc")
		require.NoError(t, b.Close())
		_, err := r.Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "abc", string(buf))
		_, err = m.Wait(soon(t))
		assert.Contains(t, []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE}, tsocket.Errno(err))
	})
	t.Run("a monitor of a kind of stream that has none waits for another operation", func(t *testing.T) {
		hold := newHeld()
		s := tsocket.NewStream(hold)
		m := s.MonitorSend(background)
		r := s.ReadvSend(background, make([]byte, 1))
		_ = hold.Close() // as if the connection broke
		_, err := r.Wait(soon(t))
		require.Error(t, err)
		_, merr := m.Wait(soon(t))
		assert.ErrorIs(t, merr, err.(*tsocket.OpError).Err)
	})
}

// TestMonitorOfAFile: what epoll cannot watch is watched by its other operations.
func TestMonitorOfAFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	_, err = f.WriteString("abc")
	require.NoError(t, err)
	_, err = f.Seek(0, 0)
	require.NoError(t, err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	s, err := tsocket.StreamFromFD(fd)
	require.NoError(t, err)
	closeLater(t, s)
	m := s.MonitorSend(background)
	assert.Equal(t, "abc", string(readAll(t, s, 3)))
	assert.True(t, m.InProgress())
	_, err = s.Readv(background, make([]byte, 1))
	assert.ErrorIs(t, err, tsocket.ErrEOF)
	_, err = m.Wait(soon(t))
	isErrno(t, syscall.EPIPE, err)
}

func TestOptions(t *testing.T) {
	a, _ := tcpPair(t)
	u, _ := unixPair(t)
	for name, set := range map[string]func(s *tsocket.Stream) error{
		"nodelay":   func(s *tsocket.Stream) error { return s.SetNoDelay(true) },
		"keepalive": func(s *tsocket.Stream) error { return s.SetKeepAlive(time.Minute, 1500*time.Millisecond, 3) },
		"timeout":   func(s *tsocket.Stream) error { return s.SetUserTimeout(1500 * time.Microsecond) },
	} {
		require.NoError(t, set(a), name)
		assert.ErrorIs(t, set(tsocket.NewStream(newHeld())), tsocket.ErrNotSupported, name)
		isErrno(t, syscall.EOPNOTSUPP, set(u), name)
	}
	get := func(level, opt int) (n int) {
		require.NoError(t, a.SyscallFD(func(fd int) (err error) {
			n, err = unix.GetsockoptInt(fd, level, opt)
			return err
		}))
		return n
	}
	assert.Equal(t, 1, get(unix.IPPROTO_TCP, unix.TCP_NODELAY))
	assert.Equal(t, 1, get(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	assert.Equal(t, 60, get(unix.IPPROTO_TCP, tcpKeepIdle))
	assert.Equal(t, 2, get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
	assert.Equal(t, 3, get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
	if tcpUserTimeout != 0 {
		assert.Equal(t, 2, get(unix.IPPROTO_TCP, tcpUserTimeout))
	}
	idle, interval, count, err := a.KeepAlive()
	require.NoError(t, err)
	assert.Equal(t, [3]int64{60, 2, 3}, [3]int64{int64(idle.Seconds()), int64(interval.Seconds()), int64(count)})
	if tcpUserTimeout != 0 {
		d, err := a.UserTimeout()
		require.NoError(t, err)
		assert.Equal(t, 2*time.Millisecond, d)
	}
	_, _, _, err = u.KeepAlive()
	isErrno(t, syscall.EOPNOTSUPP, err)
	_, err = tsocket.NewStream(newHeld()).UserTimeout()
	assert.ErrorIs(t, err, tsocket.ErrNotSupported)
	require.NoError(t, a.SetKeepAlive(-1, 0, 0))
	idle, _, _, err = a.KeepAlive()
	require.NoError(t, err)
	assert.EqualValues(t, -1, idle)
	assert.Zero(t, get(unix.SOL_SOCKET, unix.SO_KEEPALIVE))
	require.NoError(t, a.SetBuffers(20_000, 30_000))
	assert.GreaterOrEqual(t, get(unix.SOL_SOCKET, unix.SO_RCVBUF), 20_000)
	assert.GreaterOrEqual(t, get(unix.SOL_SOCKET, unix.SO_SNDBUF), 30_000)
}
