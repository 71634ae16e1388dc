package rxrpc_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// direct are the faces of endpoints of this process.
type direct struct{}

func (direct) Open(t testing.TB, local netip.AddrPort, cfg *rxrpc.Config) (*rxrpc.Endpoint, error) {
	e, err := rxrpc.Open(local, cfg)
	if err == nil {
		t.Cleanup(func() { _ = e.Close() })
	}
	return e, err
}

func (direct) NewSocket(t testing.TB, family int, cfg *rxrpc.SocketConfig) (facetest.Socket, error) {
	t.Cleanup(rxrpc.CloseShared)
	s, err := rxrpc.NewSocket(family, cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, nil
}

func (direct) Security(t testing.TB, keys rxrpc.KeySource) facetest.Security {
	return directKeys{t, keys}
}

type directKeys struct {
	t    testing.TB
	keys rxrpc.KeySource
}

func (k directKeys) Client(description string, level rxkad.Level) rxrpc.ClientSecurity {
	key, err := k.keys.RequestKey(description)
	require.NoError(k.t, err)
	sec, err := key.Secure(uint8(level))
	require.NoError(k.t, err)
	return sec
}

func (k directKeys) Server(ring string) []rxrpc.ServerSecurity {
	keys, err := k.keys.RequestKeyring(ring)
	require.NoError(k.t, err)
	return keys.Classes(0)
}

func TestCalls(t *testing.T)   { facetest.Calls.Run(t, direct{}) }
func TestServers(t *testing.T) { facetest.Servers.Run(t, direct{}) }
func TestSockets(t *testing.T) { facetest.Sockets.Run(t, direct{}) }
func TestErrnos(t *testing.T)  { facetest.Errnos.Run(t, direct{}) }
