package bussock_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/internal/testenv"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

func TestMain(m *testing.M) {
	if child != nil && child() {
		return
	}
	testenv.Main(m)
}

// child runs what this process was started for, if that is not the tests.
var child func() bool

// ignored: a broker's client takes another goroutine to read with when one is held up in a callback.
var ignored = []string{"github.com/cnbus/cnbus/connector/client.(*agent).read"}

// patience is how long something that is to happen is waited for.
const patience = 2 * time.Minute

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

var (
	listenID = cbid.Make(0x70000000, 1)
	dialedID = cbid.Make(0x70000000, 2) // what another process connects to
)

// node opens a node on b that is closed at the end of the test.
func node(t testing.TB, b connector.Bus, cfg *bussock.Config) *bussock.Node {
	t.Helper()
	n, err := bussock.New(soon(t), b, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	return n
}

// bus opens a Bus on a hub of its own.
func bus(t testing.TB) connector.Bus {
	b := loopback.New(nil).Open()
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// pair connects two streams of two nodes.
func pair(t testing.TB, a, b *bussock.Node) (c, d *tsocket.Stream) {
	t.Helper()
	l, err := b.Listen(soon(t), listenID, nil)
	require.NoError(t, err)
	c, err = a.Dial(soon(t), listenID)
	require.NoError(t, err)
	d, err = l.Accept(soon(t))
	require.NoError(t, err)
	require.NoError(t, l.Close())
	t.Cleanup(func() { _, _ = c.Close(), d.Close() })
	return c, d
}

// waitFor calls ok until it is true. It is for states that nothing signals.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			require.FailNow(t, "never: "+what)
		}
	}
}
