//go:build linux

package rxkad_test

import (
	"context"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
	"github.com/cnbus/cnbus/tests/interop/openafs"
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

var levels = []rxkad.Level{rxkad.Plain, rxkad.Auth, rxkad.Encrypt}

// names of the levels, as OpenAFS has them.
var names = map[rxkad.Level]string{rxkad.Plain: "clear", rxkad.Auth: "auth", rxkad.Encrypt: "crypt"}

func desKey() rxkad.Key { return rxkad.NewKey(openafs.DESKey()) }

func aesKey(t testing.TB) rxkad.Key {
	t.Helper()
	b, err := hex.DecodeString(openafs.AESKey)
	require.NoError(t, err)
	return rxkad.NewKey(b)
}

// cellKeys are the keys of the rig's cells.
func cellKeys(t testing.TB) rxkad.Keys {
	aes := aesKey(t)
	return rxkad.MoreKeys(rxkad.OneKey(openafs.KeyVersion, desKey()), rxkad.KeysFunc(func(q rxkad.KeyQuery) (rxkad.Key, error) {
		if q.Version == openafs.AESKeyVersion && q.EncType == openafs.AESType {
			return aes, nil
		}
		return rxkad.Key{}, rxkad.ErrNoKey
	}))
}

// localAuth returns the token of a program on the cell's server: of the keys in its files.
func localAuth(t testing.TB, cell rig.Cell) *rxkad.Token {
	t.Helper()
	token, err := keyring.LocalAuth(keyring.Directory(cell.File("etc/openafs/server"))...)
	require.NoError(t, err)
	return token
}

// print4 makes a token of a Kerberos 4 ticket.
func print4(t testing.TB, r rxkad.TicketRequest) *rxkad.Token {
	t.Helper()
	token, err := rxkad.PrintTicket4(desKey(), openafs.KeyVersion, r)
	require.NoError(t, err)
	return token
}

func secured(t testing.TB, token *rxkad.Token, l rxkad.Level) *rxrpc.ClientConfig {
	t.Helper()
	c, err := rxkad.NewClient(token, l)
	require.NoError(t, err)
	return &rxrpc.ClientConfig{Security: c}
}

// dial returns a client of the server at addr on an endpoint of its own.
func dial(t testing.TB, addr netip.AddrPort, cfg *rxrpc.ClientConfig) rxp.Client {
	t.Helper()
	rig.World(t)
	e, err := rxrpc.Open(netip.AddrPortFrom(netip.IPv4Unspecified(), 0), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	return rxp.Client{Client: e.Client(addr, cfg)}
}

// serve serves services at addr, to those with a key only.
func serve(t testing.TB, addr netip.AddrPort, cfg rxkad.ServerConfig, services map[uint16]rxrpc.Handler) netip.AddrPort {
	t.Helper()
	rig.World(t)
	e, err := rxrpc.Open(addr, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	if cfg.Keys == nil {
		cfg.Keys = cellKeys(t)
	}
	s := rxrpc.NewServer(e, &rxrpc.ServerConfig{Security: []rxrpc.ServerSecurity{rxkad.NewServer(cfg)}, Secured: true})
	t.Cleanup(func() { _ = s.Close() })
	for id, h := range services {
		require.NoError(t, s.Handle(id, h))
	}
	return e.LocalAddr()
}
