package facetest

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

const desKey = "\xa7\x83\x8a\xcb\xc7\x83\xec\x94"

// people are keys of a server, in AFSkeys, and of some clients: "joe" and "jane", by tickets of both kinds that end at ends.
func people(t *T) (keys rxrpc.KeySource, ends uint32) {
	t.Helper()
	store, cred := keyring.New(keyring.Config{}), keyring.Cred{UID: 1000, GID: 1000}
	var err error
	cred.Ring, err = store.NewKeyring(cred, "_uid.1000")
	require.NoError(t, err)
	add := func(typ keyring.Type, description string, payload []byte, ring keyring.ID) keyring.ID {
		id, err := store.Add(cred, typ, description, payload, ring)
		require.NoError(t, err)
		return id
	}
	ring := add(keyring.TypeKeyring, "AFSkeys", nil, cred.Ring)
	add(keyring.TypeServer, "52:2", []byte(desKey), ring)
	add(keyring.TypeServer, "53:2", []byte(desKey), ring)
	token := func(token *rxkad.Token, err error) []byte {
		require.NoError(t, err)
		b, err := keyring.AppendNative(nil, token)
		require.NoError(t, err)
		return b
	}
	ends = uint32(time.Now().Add(2 * time.Hour).Unix())
	begins := uint32(time.Now().Add(-time.Minute).Unix())
	key := rxkad.NewKey([]byte(desKey))
	add(keyring.TypeClient, "joe", token(rxkad.PrintTicket4(key, 3, rxkad.TicketRequest{Name: "joe", Instance: "admin", Cell: "example.org", Begins: begins, Expires: ends})), cred.Ring)
	add(keyring.TypeClient, "afs", token(rxkad.LocalAuth4(key, 3)), cred.Ring)
	return &keyring.KeySource{Store: store, Cred: cred}, ends
}

// whoIs says all that is known of a call's security but for times.
func whoIs(i *rxrpc.SecurityInfo) string {
	if i == nil {
		return "nobody"
	}
	s := fmt.Sprintf("type %d level %d proven %v", i.Type, i.Level, i.Authenticated)
	if id, ok := i.Peer.(*rxkad.Identity); ok {
		s += fmt.Sprintf(" %v at %v key %d of type %d", id, id.Level, id.Version, id.EncType)
	}
	return s
}

// testServerKnowsWhoCalls: what a connection has proven, whether the handler has all of the request or reads it, whatever its length.
func testServerKnowsWhoCalls(t *T) {
	keys, ends := people(t)
	sec := t.f.Security(t.T, keys)
	check := func(call *rxrpc.ServerCall, dst []byte) []byte {
		i := call.Security()
		if id, ok := i.Peer.(*rxkad.Identity); ok && id.Name == "joe" {
			assert.InDelta(t, ends, i.Expires, 600, "the ticket's life is counted in steps")
			assert.Equal(t, i.Expires, id.Expires)
			assert.NotZero(t, id.Begins)
		}
		return append(dst, whoIs(&i)...)
	}
	s := serve(t, &rxrpc.ServerConfig{Security: sec.Server("AFSkeys")}, map[uint16]rxrpc.Handler{
		52: rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
			return check(call, dst), nil
		}),
		53: rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
			b := check(call, nil)
			if _, err := io.Copy(io.Discard, call); err != nil {
				return err
			}
			assert.Equal(t, string(b), string(check(call, nil)))
			_, err := call.Write(b)
			return err
		}),
	})
	c := client(t, s, nil)
	plain := "type 1 level 0 proven false"
	for _, row := range []struct {
		key   string
		level rxkad.Level
		want  string
	}{
		{"", 0, plain},
		{"joe", rxkad.Plain, "type 3 level 0 proven true joe.admin@example.org at plain key 3 of type 0"},
		{"joe", rxkad.Encrypt, "type 3 level 2 proven true joe.admin@example.org at encrypt key 3 of type 0"},
		{"afs", rxkad.Auth, "type 3 level 1 proven true afs at auth key 3 of type 0"},
		{"", 0, plain},
	} {
		var o []rxrpc.CallOption
		if row.key != "" {
			o = append(o, rxrpc.Secure(sec.Client(row.key, row.level)))
		}
		for _, service := range []uint16{52, 53} {
			for _, n := range []int{0, 1, 20_000, 200_000} {
				call, err := c.NewCall(soon(t), service, o...)
				require.NoError(t, err)
				_, err = call.Write(pattern(n))
				require.NoError(t, err)
				got, err := io.ReadAll(call)
				require.NoError(t, err)
				assert.Equal(t, row.want, string(got), "service %d, %d bytes", service, n)
			}
		}
	}
}

// testSocketKnowsWhoCalls: with NEW_CALL, and with the first data, and not again.
func testSocketKnowsWhoCalls(t *T) {
	keys, _ := people(t)
	cfg := &rxrpc.SocketConfig{Keys: keys}
	server := socket(t, cfg)
	require.NoError(t, server.SetSecurityKeyring("AFSkeys"))
	require.NoError(t, server.Bind(at(52, local4)))
	require.NoError(t, server.Listen(5))
	for i, row := range []struct{ key, want string }{
		{"joe", "type 3 level 2 proven true joe.admin@example.org at encrypt key 3 of type 0"}, {"", "nobody"},
	} {
		c := socket(t, cfg)
		if row.key != "" {
			require.NoError(t, c.SetSecurityKey(row.key))
			require.NoError(t, c.SetMinSecurityLevel(rxrpc.SecurityEncrypted))
		}
		require.NoError(t, c.Connect(server.Getsockname()))
		want := pattern(30_000)
		go func() { _, _ = c.Sendmsg(soon(t), rxrpc.Msg{Control: tag(1), Data: want}) }()
		m, err := server.Recvmsg(soon(t), nil, 0)
		require.NoError(t, err)
		require.Equal(t, rxrpc.CtlNewCall, m.Control.Command)
		assert.Equal(t, row.want, whoIs(m.Security))
		id := uint64(i + 10)
		_, err = server.Sendmsg(soon(t), rxrpc.Msg{Control: command(id, rxrpc.CtlAccept)})
		require.NoError(t, err)
		var got []byte
		for more := true; more; {
			first := len(got) == 0
			if first {
				m, err = server.Recvmsg(soon(t), make([]byte, 10), rxrpc.MsgPeek)
				require.NoError(t, err)
				assert.Equal(t, row.want, whoIs(m.Security), "looked at")
			}
			m, err = server.Recvmsg(soon(t), make([]byte, 16<<10), 0)
			require.NoError(t, err)
			require.Equal(t, id, m.Control.CallID)
			if first {
				assert.Equal(t, row.want, whoIs(m.Security))
			} else {
				assert.Nil(t, m.Security)
			}
			got = append(got, m.Data...)
			more = m.Flags&rxrpc.MsgMore != 0
		}
		assert.Equal(t, want, got)
		sends(t, server, rxrpc.Msg{Control: tag(id), Data: []byte("reply")})
		m, err = server.Recvmsg(soon(t), nil, 0)
		require.NoError(t, err)
		assert.Equal(t, rxrpc.CtlAck, m.Control.Command)
	}
}
