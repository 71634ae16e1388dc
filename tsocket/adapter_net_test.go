package tsocket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

func TestNetConnErrors(t *testing.T) {
	a, b := tcpPair(t)
	c := tsocket.AsNetConn(a)
	assert.Equal(t, "tcp", c.LocalAddr().Network())
	assert.Equal(t, b.LocalAddr().AddrPort().String(), c.RemoteAddr().String())

	write(t, b, "x")
	require.NoError(t, c.SetReadDeadline(time.Unix(1, 0)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "though there is something")
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	require.NoError(t, c.SetReadDeadline(time.Time{}))
	n, err := c.Read(make([]byte, 9))
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	n, err = c.Write(nil)
	require.NoError(t, err)
	assert.Zero(t, n)

	require.NoError(t, b.CloseWrite(background))
	_, err = c.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	_, err = c.Write([]byte("after the end"))
	require.NoError(t, err, "the other direction lives")
	assert.Equal(t, "after the end", string(readAll(t, b, 13)))
	require.NoError(t, c.(interface{ CloseWrite() error }).CloseWrite())
	_, err = b.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)

	require.NoError(t, c.Close())
	for _, err := range []error{
		c.Close(), c.SetDeadline(time.Time{}), second(c.Read(make([]byte, 1))), second(c.Write([]byte("x"))),
	} {
		require.ErrorIs(t, err, net.ErrClosed)
		var oe *net.OpError
		require.ErrorAs(t, err, &oe)
		assert.Equal(t, "tcp", oe.Net)
	}
}

func second(_ int, err error) error { return err }

// A write that a deadline cuts off says how much went, and the next goes on.
func TestNetConnPartialWrite(t *testing.T) {
	a, b := tsocket.Pipe()
	closeLater(t, a, b)
	c := tsocket.AsNetConn(a)
	go func() {
		for n := 0; n < 64<<10; n, _ = b.PendingBytes() { // until the pipe is full
		}
		assert.NoError(t, c.SetWriteDeadline(time.Unix(1, 0)))
	}()
	n, err := c.Write([]byte(strings.Repeat("a", 100_000)))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Equal(t, 64<<10, n)
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	readAll(t, b, n)
	_, err = c.Write([]byte("b"))
	require.NoError(t, err)
	assert.Equal(t, "b", string(readAll(t, b, 1)))
}

func TestNetListener(t *testing.T) {
	for name, at := range map[string]tsocket.Addr{"tcp": loopback4(t), "unix": socketPath(t, "l")} {
		t.Run(name, func(t *testing.T) {
			listen := tsocket.ListenTCP
			if name == "unix" {
				listen = tsocket.ListenUnix
			}
			tl, err := listen(at, nil)
			require.NoError(t, err)
			l := tsocket.AsNetListener(tl)
			assert.Equal(t, name, l.Addr().Network())

			accepted := make(chan net.Conn, 2)
			for range 2 { // they wait for each other
				go func() {
					c, err := l.Accept()
					assert.NoError(t, err)
					accepted <- c
				}()
			}
			for range 2 {
				c, err := net.Dial(name, l.Addr().String())
				require.NoError(t, err)
				s := <-accepted
				_, err = s.Write([]byte("hi"))
				require.NoError(t, err)
				require.NoError(t, s.Close())
				got, err := io.ReadAll(c)
				require.NoError(t, err)
				assert.Equal(t, "hi", string(got))
				require.NoError(t, c.Close())
			}
			waiting := make(chan error)
			go func() {
				_, err := l.Accept()
				waiting <- err
			}()
			require.NoError(t, l.Close())
			require.ErrorIs(t, <-waiting, net.ErrClosed)
			require.ErrorIs(t, l.Close(), net.ErrClosed)
		})
	}
}

func TestPacketConn(t *testing.T) {
	d := udp(t, loopback4(t), tsocket.Addr{})
	c := tsocket.AsPacketConn(d)
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	closeLater(t, peer)

	_, err = c.WriteTo([]byte("ping"), peer.LocalAddr())
	require.NoError(t, err)
	buf := make([]byte, 10)
	n, from, err := peer.ReadFrom(buf)
	require.NoError(t, err)
	assert.Equal(t, "ping", string(buf[:n]))
	assert.Equal(t, c.LocalAddr().String(), from.String())

	_, err = peer.WriteTo([]byte("long answer"), from)
	require.NoError(t, err)
	_, err = peer.WriteTo([]byte("short"), from)
	require.NoError(t, err)
	n, from, err = c.ReadFrom(buf[:4])
	require.ErrorIs(t, err, io.ErrShortBuffer, "cut off, and said")
	assert.Equal(t, "long", string(buf[:n]))
	assert.Equal(t, peer.LocalAddr().String(), from.String())
	n, _, err = c.ReadFrom(buf)
	require.NoError(t, err)
	assert.Equal(t, "short", string(buf[:n]))

	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, _, err = c.ReadFrom(buf)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetDeadline(time.Time{}))
	_, err = c.WriteTo([]byte("x"), nil)
	require.ErrorIs(t, err, syscall.EDESTADDRREQ)
	_, err = c.WriteTo(nil, peer.LocalAddr())
	require.ErrorIs(t, err, syscall.EINVAL, "no empty datagrams")
	_, err = c.WriteTo([]byte("x"), badNetAddr{})
	require.ErrorIs(t, err, syscall.EAFNOSUPPORT)

	waiting := make(chan error)
	go func() {
		_, _, err := c.ReadFrom(buf)
		waiting <- err
	}()
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-waiting, net.ErrClosed)
	require.ErrorIs(t, c.Close(), net.ErrClosed)
}

type badNetAddr struct{}

func (badNetAddr) Network() string { return "odd" }
func (badNetAddr) String() string  { return "nowhere" }

func TestFromPacketConn(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	d := tsocket.FromPacketConn(c)
	closeLater(t, d)
	peer := udp(t, loopback4(t), d.LocalAddr())

	_, err = peer.SendTo(background, []byte("ping"), tsocket.Addr{})
	require.NoError(t, err)
	got, err := d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	assert.Equal(t, "ping", string(got.Data))
	assert.Equal(t, peer.LocalAddr(), got.Src)
	_, err = d.SendTo(soon(t), []byte("pong"), got.Src)
	require.NoError(t, err)
	buf := make([]byte, 9)
	n, _, err := peer.RecvFrom(soon(t), buf)
	require.NoError(t, err)
	assert.Equal(t, "pong", string(buf[:n]))
	_, err = d.SendTo(background, []byte("x"), tsocket.Addr{})
	isErrno(t, syscall.EDESTADDRREQ, err)
	_, err = d.SendTo(background, []byte("x"), socketPath(t, "u"))
	isErrno(t, syscall.EAFNOSUPPORT, err)

	u, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socketPath(t, "big").Path()})
	require.NoError(t, err)
	ud := tsocket.FromPacketConn(u)
	closeLater(t, ud)
	big := unixDgram(t, tsocket.Addr{}, ud.LocalAddr())
	for _, want := range []error{syscall.EMSGSIZE, nil} { // told once, and there is room then
		_, err = big.SendTo(soon(t), make([]byte, 100_000), tsocket.Addr{})
		require.NoError(t, err)
		got, err := ud.RecvFromSend(background).Wait(soon(t))
		require.ErrorIs(t, err, want)
		if err == nil {
			assert.Len(t, got.Data, 100_000)
		}
	}
}

// A connection that timed out is not a deadline of the adapter.
func TestFromNetConnTimedOut(t *testing.T) {
	s := tsocket.FromNetConn(failingConn{err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}})
	_, err := s.Readv(soon(t), make([]byte, 1))
	isErrno(t, syscall.ETIMEDOUT, err)
	_, err = s.Writev(soon(t), make([]byte, 1))
	isErrno(t, syscall.ETIMEDOUT, err)
	s = tsocket.FromNetConn(failingConn{err: errors.New("odd")})
	_, err = s.Readv(soon(t), make([]byte, 1))
	assert.Equal(t, syscall.EIO, tsocket.Errno(err))
}

type failingConn struct {
	net.Conn
	err error
}

func (f failingConn) LocalAddr() net.Addr                { return nil }
func (f failingConn) RemoteAddr() net.Addr               { return nil }
func (f failingConn) Read([]byte) (int, error)           { return 0, f.err }
func (f failingConn) Write([]byte) (int, error)          { return 0, f.err }
func (f failingConn) SetReadDeadline(_ time.Time) error  { return nil }
func (f failingConn) SetWriteDeadline(_ time.Time) error { return nil }
