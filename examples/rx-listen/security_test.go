package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

// keys are those of a cell's server and of a client, by the names that the kernel's documentation has.
type keys map[string][]byte

func (k keys) Request(typ keyring.Type, description string) ([]byte, error) {
	if b, ok := k[description]; ok && typ == keyring.TypeClient {
		return append([]byte(nil), b...), nil
	}
	return nil, keyring.ErrNoKey
}

// secret is the key of service 52 in the kernel's documentation.
const secret = "\xa7\x83\x8a\xcb\xc7\x83\xec\x94"

// TestListenWithKeys: a server that names a keyring of its user in the agent, a client with a key of its own process or of
// the agent, at each level; without a key, and below the server's level, it does not go.
func TestListenWithKeys(t *testing.T) {
	t.Cleanup(rxrpc.CloseShared)
	token, err := rxkad.LocalAuth4(rxkad.NewKey([]byte(secret)), 3)
	require.NoError(t, err)
	payload, err := keyring.AppendNative(nil, token)
	require.NoError(t, err)

	hub := loopback.New(nil)
	agentBus, bus := hub.Open(), hub.Open()
	t.Cleanup(func() { _, _ = bus.Close(), agentBus.Close() })
	agent, err := rxagent.New(t.Context(), agentBus, &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}, Keys: rxkeys.New(nil)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = agent.Close() })
	conn, err := rxclient.Dial(t.Context(), bus, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ofAgent := func() (socket, error) { return conn.NewSocket(rxrpc.Inet, nil) }
	ep, err := bus.Endpoint(t.Context())
	require.NoError(t, err)
	c := &rxkeys.Client{Endpoint: ep}
	ring, err := c.Add(t.Context(), keyring.TypeKeyring, "AFSkeys", nil, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	_, err = c.Add(t.Context(), keyring.TypeServer, "52:2", []byte(secret), ring, 0)
	require.NoError(t, err)
	_, err = c.Add(t.Context(), keyring.TypeClient, "AFS:example.org", payload, rxkeys.OwnRing, 0)
	require.NoError(t, err)
	ofProcess := func() (socket, error) {
		source, err := keysFrom(keys{"AFS:example.org": payload})
		if err != nil {
			return nil, err
		}
		return rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Keys: source})
	}

	ctx, cancel := context.WithCancel(t.Context())
	at, done := make(chan string, 1), make(chan error, 1)
	server := security{keyring: "AFSkeys", level: rxrpc.SecurityAuth}.set(ofAgent)
	go func() { done <- serve(ctx, server, "127.0.0.1:0", func(a rxrpc.Addr) { at <- a.Addr.String() }) }()
	defer func() {
		cancel()
		assert.NoError(t, <-done)
	}()
	var addr string
	select {
	case addr = <-at:
	case err := <-done:
		done <- err
		require.NoError(t, err)
	}
	for name, open := range map[string]func() (socket, error){"of this process": ofProcess, "over the bus": ofAgent} {
		for level := uint(rxrpc.SecurityAuth); level <= rxrpc.SecurityEncrypted; level++ {
			reply, err := request(ctx, security{key: "AFS:example.org", level: level}.set(open), addr, []byte("hello"))
			require.NoError(t, err, name)
			assert.Equal(t, "HELLO", string(reply), name)
		}
		_, err = request(ctx, security{key: "AFS:example.org"}.set(open), addr, []byte("hello"))
		assert.ErrorIs(t, err, rxrpc.Abort(rxkad.LevelFail.AbortCode()), name)
		_, err = request(ctx, security{key: "AFS:example.com"}.set(open), addr, []byte("hello"))
		assert.ErrorContains(t, err, "no such key", name)
	}
}
