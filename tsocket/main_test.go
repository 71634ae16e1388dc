package tsocket_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var background = context.Background()

// soon is a context that ends long after everything should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(background, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// cancelled is a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx
}

func loopback4(t testing.TB) tsocket.Addr {
	a, err := tsocket.ParseIP("ipv4", "127.0.0.1", 0)
	require.NoError(t, err)
	return a
}

// socketPath returns a path for a unix socket that is short enough.
func socketPath(t testing.TB, name string) tsocket.Addr {
	dir, err := os.MkdirTemp("", "ts")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a, err := tsocket.UnixAddr(filepath.Join(dir, name))
	require.NoError(t, err)
	return a
}

// unixPair returns two connected unix streams.
func unixPair(t testing.TB) (a, b *tsocket.Stream) {
	a, b, err := tsocket.SocketPair()
	require.NoError(t, err)
	closeLater(t, a, b)
	return a, b
}

func closeLater(t testing.TB, cs ...interface{ Close() error }) {
	t.Cleanup(func() {
		for _, c := range cs {
			_ = c.Close()
		}
	})
}
