package tstest_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

func closeLater(t testing.TB, cs ...interface{ Close() error }) {
	t.Cleanup(func() {
		for _, c := range cs {
			_ = c.Close()
		}
	})
}

func pipe(t testing.TB) (a, b *tsocket.Stream) {
	a, b = tsocket.Pipe()
	closeLater(t, a, b)
	return a, b
}

func socketPair(t testing.TB) (a, b *tsocket.Stream) {
	a, b, err := tsocket.SocketPair()
	require.NoError(t, err)
	closeLater(t, a, b)
	return a, b
}

func connected(t testing.TB, l *tsocket.Listener, dial func(remote tsocket.Addr) (*tsocket.Stream, error)) (a, b *tsocket.Stream) {
	accepting := l.AcceptSend(t.Context())
	a, err := dial(l.Addr())
	require.NoError(t, err)
	b, err = accepting.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	closeLater(t, a, b)
	return a, b
}

func tcp(t testing.TB) (a, b *tsocket.Stream) {
	l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	require.NoError(t, err)
	return connected(t, l, func(r tsocket.Addr) (*tsocket.Stream, error) {
		return tsocket.DialTCP(t.Context(), tsocket.Addr{}, r)
	})
}

func tcpConns(t testing.TB) (c, d net.Conn) { return conns(t, "tcp", "127.0.0.1:0") }

// adopted makes a stream of a duplicate of c's descriptor, and closes c.
func adopted(t testing.TB, c net.Conn) *tsocket.Stream {
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	fd := -1
	require.NoError(t, raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	s, err := tsocket.StreamFromFD(fd)
	require.NoError(t, err)
	return s
}

func conns(t testing.TB, network, address string) (c, d net.Conn) {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	c, err = net.Dial(network, l.Addr().String())
	require.NoError(t, err)
	d, err = l.Accept()
	require.NoError(t, err)
	return c, d
}

// Every kind of stream of package tsocket keeps every rule.
func TestStreams(t *testing.T) {
	for name, k := range map[string]tstest.Streams{
		"Pipe":       {Pair: pipe},
		"SocketPair": {Pair: socketPair},
		"TCP":        {Pair: tcp},
		"net.Pipe": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := net.Pipe()
			a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
			closeLater(t, a, b)
			return a, b
		}, NoCloseWrite: true, NoMonitor: true},
		"unix": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			l, err := tsocket.ListenUnix(tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(shortDir(t), "s"))), nil)
			require.NoError(t, err)
			return connected(t, l, func(r tsocket.Addr) (*tsocket.Stream, error) {
				return tsocket.DialUnix(t.Context(), tsocket.Addr{}, r)
			})
		}},
		"descriptor": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := tcpConns(t)
			a, b = adopted(t, c), adopted(t, d)
			closeLater(t, a, b)
			return a, b
		}},
		"net.UnixConn": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := conns(t, "unix", filepath.Join(shortDir(t), "s"))
			a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
			closeLater(t, a, b)
			return a, b
		}, NoMonitor: true},
		"net.TCPConn": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := tcpConns(t)
			a, b = tsocket.FromNetConn(c), tsocket.FromNetConn(d)
			closeLater(t, a, b)
			return a, b
		}, NoMonitor: true},
		"there and back": {Pair: func(t testing.TB) (a, b *tsocket.Stream) {
			c, d := socketPair(t)
			a, b = tsocket.FromNetConn(tsocket.AsNetConn(c)), tsocket.FromNetConn(tsocket.AsNetConn(d))
			closeLater(t, a, b)
			return a, b
		}, NoMonitor: true},
	} {
		t.Run(name, func(t *testing.T) { tstest.TestStreams(t, k) })
	}
}

// Every kind of datagram socket of package tsocket keeps every rule.
func TestDgrams(t *testing.T) {
	loopback := tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0))
	both := func(t testing.TB, one func() (*tsocket.Dgram, error)) (a, b *tsocket.Dgram) {
		a, err := one()
		require.NoError(t, err)
		b, err = one()
		require.NoError(t, err)
		closeLater(t, a, b)
		return a, b
	}
	path := func(t testing.TB) string { return filepath.Join(shortDir(t), "d") }
	for name, k := range map[string]tstest.Dgrams{
		"PipeDgram": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			a, b = tsocket.PipeDgram()
			closeLater(t, a, b)
			return a, b
		}, Connected: true, Max: 1 << 20, Waits: true},
		"UDP": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			return both(t, func() (*tsocket.Dgram, error) { return tsocket.UDP(loopback, tsocket.Addr{}) })
		}, Max: 65507},
		"unix": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			return both(t, func() (*tsocket.Dgram, error) {
				return tsocket.UnixDgram(tsocket.MustAddr(tsocket.UnixAddr(path(t))), tsocket.Addr{})
			})
		}, Max: 100_000, Waits: true},
		"UnixDgramPair": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			a, b, err := tsocket.UnixDgramPair()
			require.NoError(t, err)
			closeLater(t, a, b)
			return a, b
		}, Connected: true, Max: 100_000, Waits: true},
		"net.UDPConn": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			return both(t, func() (*tsocket.Dgram, error) {
				c, err := net.ListenPacket("udp", "127.0.0.1:0")
				return tsocket.FromPacketConn(c), err
			})
		}, Max: 65507},
		"net.UnixConn": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			return both(t, func() (*tsocket.Dgram, error) {
				c, err := net.ListenPacket("unixgram", path(t))
				return tsocket.FromPacketConn(c), err
			})
		}, Max: 65536},
		"there and back": {Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
			return both(t, func() (*tsocket.Dgram, error) {
				d, err := tsocket.UDP(loopback, tsocket.Addr{})
				return tsocket.FromPacketConn(tsocket.AsPacketConn(d)), err
			})
		}, Max: 65507},
	} {
		t.Run(name, func(t *testing.T) { tstest.TestDgrams(t, k) })
	}
}

// shortDir returns a directory whose path leaves room in a unix address.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "ts")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
