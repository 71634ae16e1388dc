package tsagent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

// closers are closed before a test is over, and the agent has done it.
func closeLater(t testing.TB, c *tsagent.Client, closers ...interface{ Close() error }) {
	t.Cleanup(func() {
		for _, s := range closers {
			assert.NoError(t, s.Close())
		}
		_, err := c.Stat(soon(t)) // behind the CLOSEs
		assert.NoError(t, err)
	})
}

// streamPair connects two streams of the agent by a listener of the agent.
func streamPair(c *tsagent.Client, l *tsagent.Listener) func(t testing.TB) (a, b *tsocket.Stream) {
	return func(t testing.TB) (a, b *tsocket.Stream) {
		dial := c.DialTCP
		if l.Addr().IsUnix() {
			dial = c.DialUnix
		}
		a, err := dial(soon(t), tsocket.Addr{}, l.Addr())
		require.NoError(t, err)
		b, err = l.Accept(soon(t))
		require.NoError(t, err)
		closeLater(t, c, a, b)
		return a, b
	}
}

// carriers: a bus's connection that runs a handler for long has another goroutine read meanwhile.
var carriers = []string{"github.com/cnbus/cnbus/connector/client.(*agentReader).replace"}

// The streams behave as those of package tsocket do, whatever the bus.
func TestStreams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		c := s.client(t)
		t.Run("tcp", func(t *testing.T) {
			l, err := c.ListenTCP(soon(t), local4(0), nil)
			require.NoError(t, err)
			closeLater(t, c, l)
			tstest.TestStreams(t, tstest.Streams{Ignore: carriers, Pair: streamPair(c, l)})
		})
		t.Run("unix", func(t *testing.T) {
			l, err := c.ListenUnix(soon(t), socketPath(t), nil)
			require.NoError(t, err)
			closeLater(t, c, l)
			tstest.TestStreams(t, tstest.Streams{Ignore: carriers, Pair: streamPair(c, l)})
		})
	})
}

func socketPath(t testing.TB) tsocket.Addr {
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(dir, "s")))
}

// So do the datagram sockets.
func TestDgrams(t *testing.T) {
	onEach(t, nil, func(t *testing.T, s *site) {
		c := s.client(t)
		udp := func(t testing.TB) *tsocket.Dgram {
			d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
			require.NoError(t, err)
			return d
		}
		t.Run("udp", func(t *testing.T) {
			tstest.TestDgrams(t, tstest.Dgrams{Ignore: carriers, Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				a, b = udp(t), udp(t)
				closeLater(t, c, a, b)
				return a, b
			}})
		})
		t.Run("udp, posted", func(t *testing.T) {
			tstest.TestDgrams(t, tstest.Dgrams{Ignore: carriers, Max: 60_000, Pair: func(t testing.TB) (a, b *tsocket.Dgram) {
				a, b = udp(t), udp(t)
				require.NoError(t, a.SetNotices(true))
				require.NoError(t, b.SetNotices(true))
				closeLater(t, c, a, b)
				return a, b
			}})
		})
	})
}
