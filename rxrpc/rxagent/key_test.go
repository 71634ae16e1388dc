package rxagent_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const desKey = "\xa7\x83\x8a\xcb\xc7\x83\xec\x94"

var _ rxagent.Keys = (*rxkeys.Keys)(nil)

// tokenOf is the payload of a client's key for whoever has desKey.
func tokenOf(t testing.TB) []byte {
	t.Helper()
	token, err := rxkad.LocalAuth4(rxkad.NewKey([]byte(desKey)), 3)
	require.NoError(t, err)
	b, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)
	return b
}

func (c *client) setopt(sock uint32, option int, value []byte) error {
	c.t.Helper()
	_, _, err := c.do(rxmsg.Header{Op: rxmsg.OpSetOpt, Sock: sock, Arg: rxmsg.OptArg(rxrpc.SOLRxRPC, option)}, value)
	return err
}

// TestKeysByName: the seed's server and client, whose keys are in the keyring of their user at the agent, call at each level.
// What is revoked there is of no use at once.
func TestKeysByName(t *testing.T) {
	w := newWorld(t, &rxagent.Config{Keys: rxkeys.New(nil)})
	server, user := w.client(t), w.client(t)
	at, mine := &rxkeys.Client{Endpoint: server.ep}, &rxkeys.Client{Endpoint: user.ep}
	ring, err := at.Add(soon(t), keyring.TypeKeyring, "AFSkeys", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	_, err = at.Add(soon(t), keyring.TypeServer, "52:2", []byte(desKey), ring, 0)
	require.NoError(t, err)
	s := server.socket(rxmsg.Socket{})
	assert.ErrorIs(t, server.setopt(s, rxrpc.OptSecurityKeyring, []byte("others")), errno.NoKey)
	require.NoError(t, server.setopt(s, rxrpc.OptSecurityKeyring, []byte("AFSkeys")))
	addr := server.bind(s, 52)
	server.must(rxmsg.Header{Op: rxmsg.OpListen, Sock: s, Arg: 64}, nil)

	before := user.socket(rxmsg.Socket{})
	assert.ErrorIs(t, user.setopt(before, rxrpc.OptSecurityKey, []byte("afs@example.org")), errno.NoKey)
	id, err := mine.Add(soon(t), keyring.TypeClient, "afs@example.org", tokenOf(t), rxkeys.OwnRing, 0)
	require.NoError(t, err)
	tag := uint64(0)
	for level := range uint32(3) {
		c := user.socket(rxmsg.Socket{})
		require.NoError(t, user.setopt(c, rxrpc.OptSecurityKey, []byte("afs@example.org")))
		require.NoError(t, user.setopt(c, rxrpc.OptMinSecurityLevel, binary.NativeEndian.AppendUint32(nil, level)))
		user.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: c}, addr.AppendRaw(nil))
		for _, n := range []int{1, 1404, 100_000} {
			tag++
			user.send(c, tag, pattern(n))
			require.Equal(t, rxrpc.CtlNewCall, server.msg().Control.Command)
			require.NoError(t, server.command(s, command(tag, rxrpc.CtlAccept)))
			got, _ := server.phase(s, tag)
			require.Equal(t, pattern(n), got, "level %d", level)
			server.send(s, tag, pattern(n/2+1))
			got, _ = user.phase(c, tag)
			require.Equal(t, pattern(n/2+1), got, "level %d", level)
			require.Equal(t, rxrpc.CtlAck, server.msg().Control.Command)
		}
		user.must(rxmsg.Header{Op: rxmsg.OpClose, Sock: c}, nil)
	}

	c := user.socket(rxmsg.Socket{})
	require.NoError(t, user.setopt(c, rxrpc.OptSecurityKey, []byte("afs@example.org")))
	user.must(rxmsg.Header{Op: rxmsg.OpConnect, Sock: c}, addr.AppendRaw(nil))
	require.NoError(t, mine.Revoke(soon(t), id))
	_, _, err = user.do(rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: c}, message(t, rxrpc.Msg{Control: control(100), Data: []byte("x")}))
	assert.ErrorIs(t, err, errno.KeyRevoked)
}

// TestKeysOfCalls: the kernel's interface takes a key for each call, by its number; what is no key of the user is none.
func TestKeysOfCalls(t *testing.T) {
	w := newWorld(t, &rxagent.Config{Keys: rxkeys.New(nil)})
	user := w.client(t)
	mine := &rxkeys.Client{Endpoint: user.ep}
	id, err := mine.Add(soon(t), keyring.TypeClient, "afs@example.org", tokenOf(t), rxkeys.OwnRing, 0)
	require.NoError(t, err)
	e := engine(t)
	srv := rxrpc.NewServer(e, &rxrpc.ServerConfig{
		Security: []rxrpc.ServerSecurity{rxkad.NewServer(rxkad.ServerConfig{Keys: rxkad.OneKey(3, rxkad.NewKey([]byte(desKey)))})},
	})
	t.Cleanup(func() { _ = srv.Close() })
	require.NoError(t, srv.Handle(52, whoCalls))
	s := user.socket(rxmsg.Socket{})
	user.must(rxmsg.Header{Op: rxmsg.OpIntercept, Sock: s}, nil)
	to := rxrpc.Addr{Service: 52, Addr: e.LocalAddr()}
	begin := func(tag uint64, key uint32) error {
		b, err := (&rxmsg.BeginCall{Name: to.AppendRaw(nil), Key: key}).Append(nil)
		require.NoError(t, err)
		_, _, err = user.do(rxmsg.Header{Op: rxmsg.OpBeginCall, Sock: s, Arg: tag}, b)
		return err
	}
	assert.ErrorIs(t, begin(1, uint32(id)+1000), errno.NoKey)
	for tag, row := range map[uint64]struct {
		key  uint32
		want string
	}{2: {uint32(id), "afs"}, 3: {0, "nobody"}} {
		require.NoError(t, begin(tag, row.key))
		user.must(rxmsg.Header{Op: rxmsg.OpSendData, Sock: s, Arg: tag}, append(rxmsg.AppendU32(nil, 0), "who?"...))
		assert.Equal(t, row.want, user.intercepted(s, tag), fmt.Sprint(row))
		user.must(rxmsg.Header{Op: rxmsg.OpEndCall, Sock: s, Arg: tag}, nil)
	}
}

// whoCalls answers with who the caller has proven to be.
var whoCalls = rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
	if id, ok := call.Security().Peer.(*rxkad.Identity); ok {
		return append(dst, id.String()...), nil
	}
	return append(dst, "nobody"...), nil
})

// intercepted returns the data of a call that an interceptor gets.
func (c *client) intercepted(sock uint32, tag uint64) string {
	c.t.Helper()
	data := ""
	for {
		e := c.next()
		require.Equal(c.t, rxmsg.EventRx, e.h.Op)
		require.Equal(c.t, tag, e.h.Arg)
		x, err := rxmsg.ParseRx(e.body)
		require.NoError(c.t, err)
		require.Equal(c.t, rxrpc.MarkData, x.Mark, "%d", x.Code)
		data += string(x.Data)
		c.must(rxmsg.Header{Op: rxmsg.OpDataDelivered, Sock: sock, Arg: uint64(x.Handle)}, nil)
		if x.Last {
			return data
		}
	}
}
