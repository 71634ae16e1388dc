package npa_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/npa"
	"github.com/cnbus/cnbus/tsocket/tstest"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var background = context.Background()

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func closeLater(t testing.TB, cs ...interface{ Close() error }) {
	t.Cleanup(func() {
		for _, c := range cs {
			_ = c.Close()
		}
	})
}

func memory(t testing.TB) (a, b *tsocket.Stream) {
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

func tcp(t testing.TB) (a, b *tsocket.Stream) {
	l, err := tsocket.ListenTCP(tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	require.NoError(t, err)
	accepting := l.AcceptSend(soon(t))
	a, err = tsocket.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	b, err = accepting.Wait(soon(t))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	closeLater(t, a, b)
	return a, b
}

// pipeDir returns a directory for pipes whose path is short enough.
func pipeDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "np")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listen(t testing.TB, dir, name string) *tsocket.Listener {
	l, err := tsocket.ListenUnix(tsocket.MustAddr(tsocket.UnixAddr(filepath.Join(dir, name))), nil)
	require.NoError(t, err)
	closeLater(t, l)
	return l
}

// opened returns both ends of a pipe of a directory.
func opened(t testing.TB, mode npa.FileType) (client, server *tsocket.Stream) {
	dir := pipeDir(t)
	l := listen(t, dir, "samr")
	connecting := npa.ConnectSend(soon(t), dir, "SAMR", &npa.Request{})
	s, err := l.Accept(soon(t))
	require.NoError(t, err)
	server, _, err = npa.Accept(soon(t), s, &npa.AcceptConfig{FileType: mode})
	require.NoError(t, err)
	c, err := connecting.Wait(soon(t))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	closeLater(t, c.Stream, server)
	return c.Stream, server
}

// wrapped returns pipes over two connected streams.
func wrapped(t testing.TB, c, s *tsocket.Stream, mode npa.FileType) (a, b *tsocket.Stream) {
	a, err := npa.Wrap(c, mode, nil)
	require.NoError(t, err)
	b, err = npa.Wrap(s, mode, nil)
	require.NoError(t, err)
	closeLater(t, a, b)
	return a, b
}

// Both modes are streams like any other, whatever they stand on.
func TestStreams(t *testing.T) {
	lower := map[string]func(t testing.TB) (a, b *tsocket.Stream){
		"memory": memory, "socketpair": socketPair, "tcp": tcp,
	}
	for name, pair := range lower {
		for _, mode := range []npa.FileType{npa.ByteMode, npa.MessageMode} {
			k := tstest.Streams{Pair: func(t testing.TB) (a, b *tsocket.Stream) {
				c, s := pair(t)
				return wrapped(t, c, s, mode)
			}}
			if mode == npa.MessageMode {
				k.MaxWrite, k.QuietPending = 65535, true
			}
			t.Run(name+", "+mode.String(), func(t *testing.T) { tstest.TestStreams(t, k) })
		}
	}
	for _, mode := range []npa.FileType{npa.ByteMode, npa.MessageMode} {
		t.Run("opened, "+mode.String(), func(t *testing.T) {
			k := tstest.Streams{Pair: func(t testing.TB) (a, b *tsocket.Stream) { return opened(t, mode) }}
			if mode == npa.MessageMode {
				k.MaxWrite, k.QuietPending = 65535, true
			}
			tstest.TestStreams(t, k)
		})
	}
}
