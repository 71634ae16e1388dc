package rxrpc_test

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// A keeper has the keys of a server and of a client in a keyring.
type keeper struct {
	*keyring.Store
	cred          keyring.Cred
	server, token keyring.ID // the keyring AFSkeys, and the client's key
}

func newKeeper(t *testing.T, secret string) (*keeper, *rxrpc.SocketConfig) {
	t.Helper()
	k := &keeper{Store: keyring.New(keyring.Config{}), cred: keyring.Cred{UID: 1000, GID: 1000}}
	var err error
	k.cred.Ring, err = k.NewKeyring(k.cred, "_uid.1000")
	require.NoError(t, err)
	k.server, err = k.Add(k.cred, keyring.TypeKeyring, "AFSkeys", nil, k.cred.Ring)
	require.NoError(t, err)
	k.serverKey(t, secret)
	k.token = k.clientKey(t, secret)
	return k, &rxrpc.SocketConfig{Keys: &keyring.KeySource{Store: k.Store, Cred: k.cred}}
}

func (k *keeper) serverKey(t *testing.T, secret string) keyring.ID {
	t.Helper()
	id, err := k.Add(k.cred, keyring.TypeServer, "52:2", []byte(secret), k.server)
	require.NoError(t, err)
	return id
}

func (k *keeper) clientKey(t *testing.T, secret string) keyring.ID {
	t.Helper()
	token, err := rxkad.LocalAuth4(rxkad.NewKey([]byte(secret)), 3)
	require.NoError(t, err)
	payload, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)
	id, err := k.Add(k.cred, keyring.TypeClient, "afs@example.org", payload, k.cred.Ring)
	require.NoError(t, err)
	return id
}

const firstKey, secondKey = "\x01\x23\x45\x67\x89\xab\xcd\xef", "\xa7\x83\x8a\xcb\xc7\x83\xec\x94"

// TestSocketSecured: keys by their descriptions on both sides; a call that peeks does not decrypt twice; a server's
// level is the least.
func TestSocketSecured(t *testing.T) {
	_, cfg := newKeeper(t, firstKey)
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

// afsPair is a server for service 52 and a client of it, with keys by name.
func afsPair(t *testing.T, cfg *rxrpc.SocketConfig) (server, client *rxrpc.Socket) {
	t.Helper()
	server = socket(t, cfg)
	require.NoError(t, server.SetSecurityKeyring("AFSkeys"))
	require.NoError(t, server.Bind(at(52, local4)))
	require.NoError(t, server.Listen(5))
	client = socket(t, cfg)
	require.NoError(t, client.SetSecurityKey("afs@example.org"))
	require.NoError(t, client.SetMinSecurityLevel(rxrpc.SecurityEncrypted))
	require.NoError(t, client.Connect(server.Getsockname()))
	return server, client
}

// calls makes a call and returns how it ended: the abort code or 0.
func calls(t *testing.T, server, client *rxrpc.Socket, id uint64) int32 {
	t.Helper()
	sends(t, client, rxrpc.Msg{Control: tag(id), Data: []byte("request")})
	for server.Poll()&rxrpc.PollIn == 0 && client.Poll()&rxrpc.PollIn == 0 {
		atServer, atClient := server.Changed(), client.Changed()
		if (server.Poll()|client.Poll())&rxrpc.PollIn != 0 {
			break
		}
		select {
		case <-atServer:
		case <-atClient:
		case <-soon(t).Done():
			require.Fail(t, "nothing comes of a call")
		}
	}
	if client.Poll()&rxrpc.PollIn != 0 {
		m := receives(t, client, 0)
		require.Equal(t, rxrpc.CtlAbort, m.Control.Command)
		return m.Control.Code
	}
	require.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)
	sends(t, server, rxrpc.Msg{Control: command(id, rxrpc.CtlAccept)})
	got, _ := phase(t, server, id)
	require.Equal(t, "request", string(got))
	sends(t, server, rxrpc.Msg{Control: tag(id), Data: []byte("reply")})
	got, _ = phase(t, client, id)
	require.Equal(t, "reply", string(got))
	require.Equal(t, rxrpc.CtlAck, receives(t, server, 0).Control.Command)
	return 0
}

// TestServerKeysChangeLive: what the seed promises: keys are added, replaced and revoked while the server listens.
// Connections that are proven go on, others count as things are.
func TestServerKeysChangeLive(t *testing.T) {
	k, cfg := newKeeper(t, firstKey)
	server, client := afsPair(t, cfg)
	assert.Zero(t, calls(t, server, client, 1))

	k.serverKey(t, secondKey)
	assert.Zero(t, calls(t, server, client, 2), "a connection whose client has proven itself")
	k.clientKey(t, firstKey)
	assert.Equal(t, rxkad.BadTicket.AbortCode(), calls(t, server, client, 3), "a new one, with a ticket of the old key")
	k.clientKey(t, secondKey)
	assert.Zero(t, calls(t, server, client, 4))

	require.NoError(t, k.Revoke(k.cred, k.serverKey(t, secondKey)))
	assert.Zero(t, calls(t, server, client, 5))
	k.clientKey(t, secondKey)
	assert.NotZero(t, calls(t, server, client, 6))
	k.serverKey(t, secondKey)
	k.clientKey(t, secondKey)
	assert.Zero(t, calls(t, server, client, 7))
}

// TestClientKeyIsRevoked: calls with it end when they send, new ones are refused, until there is another one of that name.
func TestClientKeyIsRevoked(t *testing.T) {
	k, cfg := newKeeper(t, firstKey)
	server, client := afsPair(t, cfg)
	assert.Zero(t, calls(t, server, client, 1))
	sends(t, client, rxrpc.Msg{Control: tag(2), Flags: rxrpc.MsgMore, Data: pattern(5000)})
	require.Equal(t, rxrpc.CtlNewCall, receives(t, server, 0).Control.Command)

	require.NoError(t, k.Revoke(k.cred, k.token))
	_, err := client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(3), Data: []byte("x")})
	require.ErrorIs(t, err, errno.KeyRevoked)
	_, err = client.Sendmsg(soon(t), rxrpc.Msg{Control: tag(2), Data: pattern(5000)})
	if err == nil {
		m := receives(t, client, 0)
		require.Equal(t, rxrpc.CtlLocalError, m.Control.Command)
		assert.EqualValues(t, errno.KeyRevoked, m.Control.Code)
	} else {
		assert.ErrorIs(t, err, errno.KeyRevoked)
	}

	k.clientKey(t, firstKey)
	sends(t, client, rxrpc.Msg{Control: tag(4), Data: []byte("x")})

	other := socket(t, cfg)
	assert.ErrorIs(t, other.SetSecurityKey("afs@example.com"), errno.NoKey)
	assert.ErrorIs(t, other.SetSecurityKeyring("others"), errno.NoKey)
}

// TestKeyOfACall: the kernel's interface takes a key for one call (rxrpc_kernel_begin_call) in place of the socket's; calls with the
// same key share connections.
func TestKeyOfACall(t *testing.T) {
	e, err := rxrpc.Open(local4, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	secret := rxkad.NewKey([]byte(firstKey))
	srv := rxrpc.NewServer(e, &rxrpc.ServerConfig{Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, secret)})}})
	t.Cleanup(func() { _ = srv.Close() })
	require.NoError(t, srv.Handle(52, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
		if id, ok := call.Security().Peer.(*rxkad.Identity); ok {
			return append(dst, id.Name...), nil
		}
		return append(dst, "nobody"...), nil
	})))
	keyOf := func(name string) rxrpc.ClientKey {
		token, err := rxkad.PrintTicket4(secret, 3, rxkad.TicketRequest{Name: name})
		require.NoError(t, err)
		sec, err := rxkad.NewClient(token, rxkad.Encrypt)
		require.NoError(t, err)
		return rxrpc.SecurityKey(sec)
	}
	joe := keyOf("joe")
	_, cfg := newKeeper(t, firstKey)
	opened := atomic.Int32{}
	cfg.Endpoint = &rxrpc.Config{Retain: -1, Hooks: &rxrpc.Hooks{ConnOpened: func(rxrpc.ConnInfo) { opened.Add(1) }}}
	cfg.Pool = rxrpc.NewPool(nil)
	s := socket(t, cfg)
	require.NoError(t, s.SetSecurityKey("afs@example.org"))
	k := rxrpc.NewKernelService(s)
	for i, row := range []struct {
		key  rxrpc.ClientKey
		want string
	}{{nil, "afs"}, {joe, "joe"}, {keyOf("jane"), "jane"}, {rxrpc.NullKey("example.org"), "nobody"}, {joe, "joe"}, {nil, "afs"}} {
		news := make(chan struct{}, 1)
		c, err := k.BeginCall(soon(t), rxrpc.BeginParams{
			Peer: at(52, e.LocalAddr()), Key: row.key, UserID: uint64(i + 1),
			Notify: func(*rxrpc.KernelCall) {
				select {
				case news <- struct{}{}:
				default:
				}
			},
		})
		require.NoError(t, err)
		_, err = k.SendData(soon(t), c, []byte("who?"), false)
		require.NoError(t, err)
		buf := make([]byte, len(row.want))
		for {
			_, status, err := k.RecvData(c, buf, false)
			if err == nil {
				require.Equal(t, rxrpc.RecvEnd, status)
				break
			}
			require.ErrorIs(t, err, syscall.EAGAIN)
			select {
			case <-news:
			case <-soon(t).Done():
				require.Fail(t, "no reply")
			}
		}
		assert.Equal(t, row.want, string(buf))
		k.EndCall(c)
	}
	assert.EqualValues(t, 4, opened.Load(), "connections: one of each key")
}
