package rxrpc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// afsKeys is a KeySource with one key, of a cell whose server has it too.
type afsKeys struct {
	key   rxkad.Key
	token *rxkad.Token
}

func (k *afsKeys) RequestKey(description string) (rxrpc.ClientKey, error) {
	if description != "afs@example.org" {
		return nil, errno.NoKey
	}
	return k, nil
}

func (k *afsKeys) RequestKeyring(string) (rxrpc.ServerKeyring, error) { return k, nil }

func (k *afsKeys) Secure(level uint8) (rxrpc.ClientSecurity, error) {
	return rxkad.NewClient(k.token, rxkad.Level(level))
}

func (k *afsKeys) Classes(level uint8) []rxrpc.ServerSecurity {
	return []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, k.key), MinLevel: rxkad.Level(level)})}
}

// TestSocketSecured: keys by their descriptions on both sides; a call that peeks does not decrypt twice; a server's
// level is the least.
func TestSocketSecured(t *testing.T) {
	key := rxkad.NewKey([]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef})
	token, err := rxkad.LocalAuth4(key, 3)
	require.NoError(t, err)
	cfg := &rxrpc.SocketConfig{Keys: &afsKeys{key, token}}
	server := socket(t, cfg)
	require.NoError(t, server.SetSecurityKeyring("AFSkeys"))
	require.NoError(t, server.SetMinSecurityLevel(rxrpc.SecurityEncrypted))
	require.NoError(t, server.Bind(at(52, local4)))
	require.NoError(t, server.Listen(5))
	for level, good := range map[uint32]bool{rxrpc.SecurityEncrypted: true, rxrpc.SecurityPlain: false} {
		client := socket(t, cfg)
		require.NoError(t, client.SetSecurityKey("afs@example.org"))
		require.NoError(t, client.SetMinSecurityLevel(level))
		require.NoError(t, client.Connect(server.Getsockname()))
		sends(t, client, rxrpc.Msg{Control: tag(1), Data: pattern(20000)})
		if !good {
			m := receives(t, client, 0)
			assert.Equal(t, rxrpc.CtlAbort, m.Control.Command)
			assert.Equal(t, rxkad.LevelFail.AbortCode(), m.Control.Code)
			continue
		}
		assert.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)
		sends(t, server, rxrpc.Msg{Control: command(1, rxrpc.CtlAccept)})
		_, err := server.Wait(soon(t), rxrpc.PollIn)
		require.NoError(t, err)
		assert.Equal(t, receives(t, server, rxrpc.MsgPeek).Data[:1000], pattern(20000)[:1000])
		got, _ := phase(t, server, 1)
		assert.Equal(t, pattern(20000), got)
		sends(t, server, rxrpc.Msg{Control: tag(1), Data: pattern(3000)})
		got, _ = phase(t, client, 1)
		assert.Equal(t, pattern(3000), got)
		assert.Equal(t, rxrpc.CtlAck, receives(t, server, 0).Control.Command)
	}
}
