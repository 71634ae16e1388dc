package tsocket_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// heldCtx counts who waits for its end.
type heldCtx struct {
	context.Context
	done chan struct{}
	held atomic.Int64
}

func (c *heldCtx) Done() <-chan struct{} { return c.done }

func (c *heldCtx) AfterFunc(func()) (stop func() bool) {
	c.held.Add(1)
	return sync.OnceValue(func() bool { c.held.Add(-1); return true })
}

// TestListener: what it refuses, how it ends, and what it leaves behind.
func TestListener(t *testing.T) {
	t.Run("what is refused", func(t *testing.T) {
		_, err := tsocket.ListenTCP(socketPath(t, "x"), nil)
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.ListenUnix(loopback4(t), nil)
		isErrno(t, syscall.EINVAL, err)
		_, err = tsocket.ListenUnix(tsocket.MustAddr(tsocket.UnixAddr("")), nil)
		isErrno(t, syscall.EINVAL, err)
		l, err := tsocket.ListenTCP(loopback4(t), nil)
		require.NoError(t, err)
		closeLater(t, l)
		_, err = tsocket.ListenTCP(l.Addr(), nil)
		isErrno(t, syscall.EADDRINUSE, err)
		_, err = tsocket.ListenerFromFD(-1)
		isErrno(t, syscall.EBADF, err)
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		require.NoError(t, err)
		_, err = tsocket.ListenerFromFD(fds[0])
		require.Error(t, err)
		require.NoError(t, errors.Join(unix.Close(fds[0]), unix.Close(fds[1])))
	})
	t.Run("contexts are let go", func(t *testing.T) {
		ctx := &heldCtx{Context: background, done: make(chan struct{})}
		l, err := tsocket.ListenTCP(loopback4(t), nil)
		require.NoError(t, err)
		accepting := make(chan error, 1)
		go func() { _, err := l.Accept(ctx); accepting <- err }()
		a, err := tsocket.DialTCP(ctx, tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		require.NoError(t, <-accepting)
		go func() { _, err := l.Accept(ctx); accepting <- err }()
		require.NoError(t, a.Close())
		require.NoError(t, l.Close())
		isErrno(t, syscall.ENOTCONN, <-accepting)
		assert.Eventually(t, func() bool { return ctx.held.Load() == 0 }, 2*time.Minute, time.Millisecond)
	})
	t.Run("busy, cancelled, closed", func(t *testing.T) {
		l, err := tsocket.ListenTCP(loopback4(t), nil)
		require.NoError(t, err)
		r := l.AcceptSend(background)
		_, err = l.Accept(background)
		isErrno(t, syscall.EBUSY, err)
		require.True(t, r.Cancel())
		_, err = r.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
		_, err = l.Accept(cancelled())
		isErrno(t, syscall.ECANCELED, err)
		_, err = l.AcceptSend(cancelled()).Result()
		isErrno(t, syscall.ECANCELED, err)
		_, err = l.Accept(shortly(t))
		isErrno(t, syscall.ETIMEDOUT, err)
		r = l.AcceptSend(background)
		require.NoError(t, l.Close())
		_, err = r.Wait(soon(t))
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = l.Accept(background)
		assert.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, l.Close())
	})
	t.Run("several share a port", func(t *testing.T) {
		a, err := tsocket.ListenTCP(loopback4(t), &tsocket.ListenConfig{ReusePort: true})
		require.NoError(t, err)
		closeLater(t, a)
		b, err := tsocket.ListenTCP(a.Addr(), &tsocket.ListenConfig{ReusePort: true})
		require.NoError(t, err)
		closeLater(t, b)
	})
	t.Run("the path goes with the listener, unless it is to stay", func(t *testing.T) {
		for _, keep := range []bool{false, true} {
			at := socketPath(t, "s")
			l, err := tsocket.ListenUnix(at, &tsocket.ListenConfig{KeepPath: keep})
			require.NoError(t, err)
			require.NoError(t, l.Close())
			_, err = os.Stat(at.Path())
			assert.Equal(t, keep, err == nil)
		}
		at := socketPath(t, "s")
		l, err := tsocket.ListenUnix(at, nil)
		require.NoError(t, err)
		require.NoError(t, os.Remove(at.Path()))
		require.NoError(t, l.Close(), "somebody was faster")
	})
	t.Run("one that is there already", func(t *testing.T) {
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		f, err := nl.(*net.TCPListener).File()
		require.NoError(t, err)
		require.NoError(t, nl.Close())
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		l, err := tsocket.ListenerFromFD(fd)
		require.NoError(t, err)
		closeLater(t, l)
		accepting := l.AcceptSend(background)
		s, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		p, err := accepting.Wait(soon(t))
		require.NoError(t, err)
		closeLater(t, s, p)
		assert.Equal(t, s.LocalAddr(), p.RemoteAddr())
	})
	t.Run("the wildcard of IPv6 takes no IPv4", func(t *testing.T) {
		l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv6", "", 0)), nil)
		require.NoError(t, err)
		closeLater(t, l)
		to := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", l.Addr().Port()))
		_, err = tsocket.DialTCP(soon(t), tsocket.Addr{}, to)
		isErrno(t, syscall.ECONNREFUSED, err)
		to = tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", l.Addr().Port()))
		s, err := tsocket.DialTCP(soon(t), tsocket.Addr{}, to)
		require.NoError(t, err)
		p, err := l.Accept(soon(t))
		require.NoError(t, err)
		closeLater(t, s, p)
		assert.Equal(t, "::1", p.LocalAddr().IPString(), "not the listener's wildcard")
	})
}

// TestNoDescriptors: what cannot be made for want of descriptors says so, and
// an accept does not lose the connection.
func TestNoDescriptors(t *testing.T) {
	l, err := tsocket.ListenUnix(socketPath(t, "s"), nil)
	require.NoError(t, err)
	closeLater(t, l)
	s, err := tsocket.DialUnix(background, tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	closeLater(t, s)
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	low := limit
	low.Cur = 0
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	_, acceptErr := l.Accept(background)
	_, udpErr := tsocket.UDP(loopback4(t), tsocket.Addr{})
	_, _, pairErr := tsocket.SocketPair()
	_, dialErr := tsocket.DialTCP(background, tsocket.Addr{}, loopback4(t))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for _, err := range []error{acceptErr, udpErr, pairErr, dialErr} {
		isErrno(t, syscall.EMFILE, err)
	}
	p, err := l.Accept(soon(t))
	require.NoError(t, err)
	require.NoError(t, p.Close())
}
