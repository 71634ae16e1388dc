package tsocket_test

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// eachPair runs a test on every way to make two connected streams.
func eachPair(t *testing.T, name string, test func(t *testing.T, pair func(t testing.TB) (a, b *tsocket.Stream))) {
	for _, p := range streamPairs {
		t.Run(name+"/"+p.name, func(t *testing.T) { test(t, p.make) })
	}
}

type makePair = func(t testing.TB) (a, b *tsocket.Stream)

// What C's streams do: a row each. Deviations are in docs/tsocket.md.
func TestProbesStream(t *testing.T) {
	eachPair(t, "pending_bytes: what is there, then the end, which is sticky", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		n, err := a.PendingBytes()
		require.NoError(t, err)
		assert.Zero(t, n)
		write(t, b, "abc")
		waitReadable(t, a)
		n, err = a.PendingBytes()
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		require.NoError(t, b.Close())
		n, err = a.PendingBytes()
		require.NoError(t, err, "what is there counts first")
		assert.Equal(t, 3, n)
		readAll(t, a, 3)
		waitReadable(t, a)
		want := syscall.EPIPE // a hang-up
		if a.LocalAddr().IsInet("ip") {
			want = syscall.ECONNRESET // a FIN
		}
		_, err = a.PendingBytes()
		isErrno(t, want, err)
		_, err = a.Writev(background, []byte("x"))
		isErrno(t, want, err, "it kills later writes")
		_, err = a.Readv(background, make([]byte, 1))
		isErrno(t, want, err)
		require.NoError(t, a.Disconnect(background), "works after a sticky error")
		_, err = a.PendingBytes()
		isErrno(t, syscall.ENOTCONN, err)
	})
	eachPair(t, "pending_bytes: the end of a half kills writes that went well before", func(t *testing.T, pair makePair) {
		for _, halfOpen := range []bool{false, true} {
			a, b := pair(t)
			assert.False(t, a.SetHalfOpen(halfOpen))
			require.NoError(t, b.CloseWrite(background))
			waitReadable(t, a)
			write(t, a, "x")
			_, err := a.PendingBytes()
			isErrno(t, syscall.ECONNRESET, err)
			_, err = a.Writev(background, []byte("x"))
			if halfOpen {
				require.NoError(t, err)
				_, err = a.Readv(background, make([]byte, 1))
				assert.ErrorIs(t, err, io.EOF)
				continue
			}
			isErrno(t, syscall.ECONNRESET, err)
		}
	})
	t.Run("order of checks: EMSGSIZE, EINVAL, ECONNABORTED, EBUSY, ENOTCONN, sticky", func(t *testing.T) {
		many := make([][]byte, 1025)
		one := make([]byte, 1)
		type op = func(s *tsocket.Stream, bufs ...[]byte) error
		for name, do := range map[string]op{
			"readv": func(s *tsocket.Stream, bufs ...[]byte) error { _, err := s.Readv(background, bufs...); return err },
			"readv_send": func(s *tsocket.Stream, bufs ...[]byte) error {
				_, err := s.ReadvSend(background, bufs...).Wait(background)
				return err
			},
			"writev": func(s *tsocket.Stream, bufs ...[]byte) error { _, err := s.Writev(background, bufs...); return err },
			"writev_send": func(s *tsocket.Stream, bufs ...[]byte) error {
				_, err := s.WritevSend(background, bufs...).Wait(background)
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				hold := newHeld()
				s := tsocket.NewStream(hold)
				isErrno(t, syscall.EMSGSIZE, do(s, many...))
				isErrno(t, syscall.EINVAL, do(s))
				isErrno(t, syscall.EINVAL, do(s, nil, []byte{}, nil))

				read, wrote := s.ReadvSend(background, one), s.WritevSend(background, one)
				isErrno(t, syscall.EMSGSIZE, do(s, many...), "before EBUSY")
				isErrno(t, syscall.EINVAL, do(s), "before EBUSY")
				isErrno(t, syscall.EBUSY, do(s, one))
				isErrno(t, syscall.EBUSY, s.Disconnect(background))
				require.True(t, read.Cancel())
				require.True(t, wrote.Cancel())
				_, _ = read.Wait(background)
				_, _ = wrote.Wait(background)

				d := s.DisconnectSend(background)
				isErrno(t, syscall.EMSGSIZE, do(s, many...), "before ECONNABORTED")
				isErrno(t, syscall.EINVAL, do(s), "before ECONNABORTED")
				isErrno(t, syscall.ECONNABORTED, do(s, one))
				isErrno(t, syscall.ECONNABORTED, s.Monitor(background))
				isErrno(t, syscall.EALREADY, s.Disconnect(background))
				close(hold.disconnect)
				_, err := d.Wait(background)
				require.NoError(t, err)
				isErrno(t, syscall.EMSGSIZE, do(s, many...), "before ENOTCONN")
				isErrno(t, syscall.EINVAL, do(s), "before ENOTCONN")
				isErrno(t, syscall.ENOTCONN, do(s, one))
				isErrno(t, syscall.ENOTCONN, s.Disconnect(background))
				isErrno(t, syscall.ENOTCONN, s.Monitor(background))
			})
		}
	})
	eachPair(t, "readv fills all vectors; empty ones are fine", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		v := [][]byte{nil, make([]byte, 2), {}, make([]byte, 3), nil}
		r := a.ReadvSend(background, v...)
		write(t, b, "01")
		write(t, b, "234")
		n, err := r.Wait(soon(t))
		require.NoError(t, err)
		assert.EqualValues(t, 5, n)
		assert.Equal(t, "01", string(v[1]))
		assert.Equal(t, "234", string(v[3]))
	})
	eachPair(t, "readv: 1024 vectors are allowed", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		out, in := make([][]byte, 1024), make([][]byte, 1024)
		for i := range out {
			out[i], in[i] = []byte{byte(i), byte(i >> 8)}, make([]byte, 2)
		}
		_, err := b.Writev(soon(t), out...)
		require.NoError(t, err)
		_, err = a.Readv(soon(t), in...)
		require.NoError(t, err)
		assert.Equal(t, out, in)
	})
	eachPair(t, "readv: the end is EPIPE, at a boundary and inside", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		write(t, b, "012")
		require.NoError(t, b.Close())
		buf := make([]byte, 8)
		n, err := a.Readv(soon(t), buf)
		isErrno(t, syscall.EPIPE, err)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.NotErrorIs(t, err, io.EOF)
		assert.EqualValues(t, 3, n, "C does not tell")
		assert.Equal(t, "012", string(buf[:3]))

		a, b = pair(t)
		write(t, b, "012")
		require.NoError(t, b.Close())
		readAll(t, a, 3)
		n, err = a.Readv(soon(t), buf)
		isErrno(t, syscall.EPIPE, err)
		assert.ErrorIs(t, err, io.EOF)
		assert.NotErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Zero(t, n)
		_, err = a.Writev(background, []byte("x"))
		isErrno(t, syscall.EPIPE, err, "sticky")
		assert.NotErrorIs(t, err, io.EOF)
		for range 2 {
			_, err = a.Readv(background, buf)
			assert.ErrorIs(t, err, io.EOF)
		}
	})
	eachPair(t, "writev: before the end is noticed writes succeed", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		require.NoError(t, b.CloseWrite(background))
		waitReadable(t, a)
		write(t, a, "still")
		assert.Equal(t, "still", string(readAll(t, b, 5)))
	})
	eachPair(t, "writev: peer closed EPIPE or ECONNRESET, sticky", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		require.NoError(t, b.Close())
		var err error
		for err == nil { // TCP takes the first
			_, err = a.Writev(soon(t), []byte("x"))
		}
		assert.Contains(t, []syscall.Errno{syscall.EPIPE, syscall.ECONNRESET}, tsocket.Errno(err))
		_, again := a.Writev(background, []byte("x"))
		isErrno(t, tsocket.Errno(err), again)
		_, again = a.Readv(background, make([]byte, 1))
		isErrno(t, tsocket.Errno(err), again, "reads too")
	})
	eachPair(t, "disconnect: closes, and works once", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		r := a.ReadvSend(background, make([]byte, 1))
		isErrno(t, syscall.EBUSY, a.Disconnect(background))
		_, err := a.DisconnectSend(background).Result()
		isErrno(t, syscall.EBUSY, err)
		require.True(t, r.Cancel())
		_, _ = r.Wait(soon(t))
		require.NoError(t, a.Disconnect(background))
		isErrno(t, syscall.ENOTCONN, a.Disconnect(background))
		require.NoError(t, a.Close())
		_, err = b.Readv(soon(t), make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)
	})
	eachPair(t, "disconnect: a monitor does not block it and ends with ECONNABORTED", func(t *testing.T, pair makePair) {
		a, _ := pair(t)
		m := a.MonitorSend(background)
		_, err := a.MonitorSend(background).Result()
		isErrno(t, syscall.EALREADY, err)
		require.NoError(t, a.Disconnect(background))
		_, err = m.Wait(soon(t))
		isErrno(t, syscall.ECONNABORTED, err)
		isErrno(t, syscall.ENOTCONN, a.Monitor(background))
	})
	eachPair(t, "monitor: FIN ECONNRESET, hang-up EPIPE, and what was sent can be read", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		m := a.MonitorSend(background)
		write(t, b, "abc")
		require.NoError(t, b.CloseWrite(background))
		_, err := m.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err)
		_, err = a.Writev(background, []byte("x"))
		isErrno(t, syscall.ECONNRESET, err)
		assert.Equal(t, "abc", string(readAll(t, a, 3))) // C: ECONNRESET, they are lost
		_, err = a.Readv(soon(t), make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF)

		a, b = pair(t)
		m = a.MonitorSend(background)
		require.NoError(t, b.Close())
		_, err = m.Wait(soon(t))
		if a.LocalAddr().IsInet("ip") {
			isErrno(t, syscall.ECONNRESET, err)
		} else {
			isErrno(t, syscall.EPIPE, err)
		}
		assert.Equal(t, tsocket.Errno(err), tsocket.Errno(a.Monitor(soon(t))), "and again")
	})
	t.Run("close write of a kind of stream that cannot", func(t *testing.T) {
		s := tsocket.NewStream(newHeld())
		assert.ErrorIs(t, s.CloseWrite(background), tsocket.ErrNotSupported)
		_, err := s.CloseWriteSend(background).Result()
		isErrno(t, syscall.EOPNOTSUPP, err)
	})
	eachPair(t, "monitor: cancelled, it leaves the stream as it was", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		for range 3 {
			m := a.MonitorSend(background)
			require.True(t, m.Cancel())
			_, err := m.Wait(soon(t))
			isErrno(t, syscall.ECANCELED, err)
			isErrno(t, syscall.ECANCELED, a.Monitor(cancelled()))
		}
		write(t, b, "x")
		readAll(t, a, 1)
		write(t, a, "x")
	})
	eachPair(t, "monitor: after one's own CloseWrite, and after a write that was poisoned", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		_, err := a.CloseWriteSend(background).Wait(soon(t))
		require.NoError(t, err)
		_, err = a.Writev(background, []byte("x"))
		assert.ErrorIs(t, err, tsocket.ErrWriteClosed)
		isErrno(t, syscall.EPIPE, a.CloseWrite(background))
		m := a.MonitorSend(background)
		assert.True(t, m.InProgress())
		require.NoError(t, b.Close())
		_, err = m.Wait(soon(t))
		require.Error(t, err)

		a, b = pair(t)
		w := a.WritevSend(background, make([]byte, 8<<20))
		waitReadable(t, b)
		require.True(t, w.Cancel())
		_, err = w.Wait(soon(t))
		require.Error(t, err)
		m = a.MonitorSend(background)
		assert.True(t, m.InProgress())
		require.NoError(t, b.CloseWrite(background))
		_, err = m.Wait(soon(t))
		isErrno(t, syscall.ECONNRESET, err)
	})
	t.Run("existing socket: a bad descriptor EBADF, at once", func(t *testing.T) {
		_, err := tsocket.StreamFromFD(-1) // C: ENOTCONN or EBADF at the first use
		isErrno(t, syscall.EBADF, err)
	})
	t.Run("existing socket: pipes work too", func(t *testing.T) {
		var p [2]int
		require.NoError(t, unix.Pipe(p[:]))
		r, err := tsocket.StreamFromFD(p[0])
		require.NoError(t, err)
		w, err := tsocket.StreamFromFD(p[1])
		require.NoError(t, err)
		closeLater(t, r, w)
		reading := r.ReadvSend(background, make([]byte, 3))
		write(t, w, "abc")
		_, err = reading.Wait(soon(t))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		_, err = r.Readv(soon(t), make([]byte, 3))
		assert.ErrorIs(t, err, io.EOF)
	})
	eachPair(t, "fail_readv_first_error: at once, though bytes are there", func(t *testing.T, pair makePair) {
		for _, try := range []bool{false, true} {
			a, b := pair(t)
			assert.False(t, a.SetFailEarly(true))
			assert.True(t, a.SetTryFirst(try))
			write(t, b, "ok")
			readAll(t, a, 2)
			write(t, b, "abc")
			require.NoError(t, b.CloseWrite(background))
			waitReadable(t, a)
			_, err := a.ReadvSend(background, make([]byte, 3)).Wait(soon(t)) // C: not if it tries first
			isErrno(t, syscall.ECONNRESET, err)
			_, err = a.Readv(background, make([]byte, 3))
			isErrno(t, syscall.ECONNRESET, err)
		}
	})
}

func TestProbesConnect(t *testing.T) {
	var none tsocket.Addr
	for name, dial := range map[string]func(local, remote tsocket.Addr) (*tsocket.Stream, error){
		"DialTCP": func(l, r tsocket.Addr) (*tsocket.Stream, error) { return tsocket.DialTCP(soon(t), l, r) },
		"DialTCPSend": func(l, r tsocket.Addr) (*tsocket.Stream, error) {
			return tsocket.DialTCPSend(background, l, r).Wait(soon(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := tsocket.ListenTCP(loopback4(t), nil)
			require.NoError(t, err)
			closeLater(t, l)

			s, err := dial(loopback4(t), l.Addr())
			require.NoError(t, err)
			closeLater(t, s)
			assert.Equal(t, l.Addr(), s.RemoteAddr())
			p, err := l.Accept(soon(t))
			require.NoError(t, err)
			closeLater(t, p)
			assert.Equal(t, s.LocalAddr(), p.RemoteAddr())
			assert.Equal(t, l.Addr(), p.LocalAddr())

			_, err = dial(tsocket.MustAddr(tsocket.ParseIP("ipv6", "::1", 0)), l.Addr())
			isErrno(t, syscall.EINVAL, err, "families")
			_, err = dial(none, socketPath(t, "x"))
			isErrno(t, syscall.EINVAL, err, "kinds")
			require.NoError(t, l.Close())
			_, err = dial(none, l.Addr())
			isErrno(t, syscall.ECONNREFUSED, err)
		})
	}
	for name, dial := range map[string]func(local, remote tsocket.Addr) (*tsocket.Stream, error){
		"DialUnix": func(l, r tsocket.Addr) (*tsocket.Stream, error) { return tsocket.DialUnix(soon(t), l, r) },
		"DialUnixSend": func(l, r tsocket.Addr) (*tsocket.Stream, error) {
			return tsocket.DialUnixSend(background, l, r).Wait(soon(t))
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := socketPath(t, "s")
			_, err := dial(none, at)
			isErrno(t, syscall.ENOENT, err)
			l, err := tsocket.ListenUnix(at, &tsocket.ListenConfig{KeepPath: true})
			require.NoError(t, err)
			closeLater(t, l)
			own := socketPath(t, "own")
			s, err := dial(own, at)
			require.NoError(t, err)
			closeLater(t, s)
			assert.Equal(t, own, s.LocalAddr())
			p, err := l.Accept(soon(t))
			require.NoError(t, err)
			closeLater(t, p)
			assert.Equal(t, own, p.RemoteAddr())

			_, err = tsocket.ListenUnix(at, nil)
			isErrno(t, syscall.EADDRINUSE, err)
			require.NoError(t, l.Close())
			_, err = dial(none, at)
			isErrno(t, syscall.ECONNREFUSED, err)
			_, err = dial(none, loopback4(t))
			isErrno(t, syscall.EINVAL, err, "inet remote")
			empty := tsocket.MustAddr(tsocket.UnixAddr(""))
			_, err = dial(none, empty)
			isErrno(t, syscall.ECONNREFUSED, err, "the name of 107 NULs")
		})
	}
	t.Run("unix: a full backlog EAGAIN, at once", func(t *testing.T) {
		l, err := tsocket.ListenUnix(socketPath(t, "s"), &tsocket.ListenConfig{Backlog: 1})
		require.NoError(t, err)
		closeLater(t, l)
		for {
			s, err := tsocket.DialUnix(background, none, l.Addr())
			if err != nil {
				isErrno(t, syscall.EAGAIN, err)
				break
			}
			closeLater(t, s)
		}
	})
	t.Run("socketpair", func(t *testing.T) {
		a, b := unixPair(t)
		write(t, a, "x")
		readAll(t, b, 1)
	})
}
