//go:build linux

// Package goface_test sets Client, Server and Socket of package rxrpc against OpenAFS: its
// servers, and peers in C on its Rx library.
package goface_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, addr netip.AddrPort, cfg *rxrpc.Config) *rxrpc.Client {
	t.Helper()
	e, err := rxrpc.Open(netip.MustParseAddrPort("0.0.0.0:0"), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return e.Client(addr, nil)
}

// words are XDR integers.
func words(w ...uint32) []byte {
	var b []byte
	for _, x := range w {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}
