//go:build linux

package interop

import (
	"context"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

func TestMain(m *testing.M) { rig.Main(m) }

// soon is a context that ends long after everything should have happened.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	t.Cleanup(cancel)
	return ctx
}

// open makes an endpoint of ours that is closed at the end of the test.
func open(t testing.TB, at netip.AddrPort, cfg *rxrpc.Config) *rxrpc.Endpoint {
	t.Helper()
	rig.World(t)
	e, err := rxrpc.Open(at, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// dial returns a client of the server at addr on an endpoint of its own.
func dial(t testing.TB, addr netip.AddrPort, cfg *rxrpc.Config) rxp.Client {
	t.Helper()
	any4 := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if addr.Addr().Is6() {
		any4 = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	return rxp.Client{Client: open(t, any4, cfg).Client(addr, nil)}
}

// serve serves the test service at addr.
func serve(t testing.TB, at netip.AddrPort, cfg *rxrpc.Config) *rxrpc.Server {
	t.Helper()
	s := rxrpc.NewServer(open(t, at, cfg), nil)
	require.NoError(t, s.Handle(rxp.ID, &rxp.Service{}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// drain waits until the endpoint has said all that it has to say, so that a peer
// that is about to end has its answers.
func drain(t testing.TB, e *rxrpc.Endpoint) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(t, e.Wait(ctx))
}

var loopback = netip.AddrPortFrom(rig.Loopback, 0)

func decimal(n int) string { return strconv.Itoa(n) }
