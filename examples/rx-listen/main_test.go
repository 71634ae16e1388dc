package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// overBus returns what makes sockets of an agent, as ofAgent does with that of a broker.
func overBus(t *testing.T) func() (socket, error) {
	t.Helper()
	hub := loopback.New(nil)
	open := func() connector.Bus {
		bus := hub.Open()
		t.Cleanup(func() { _ = bus.Close() })
		return bus
	}
	agent, err := rxagent.New(t.Context(), open(), &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = agent.Close() })
	conn, err := rxclient.Dial(t.Context(), open(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return func() (socket, error) { return conn.NewSocket(rxrpc.Inet, nil) }
}

func TestListen(t *testing.T) {
	bus := overBus(t)
	for name, ends := range map[string]struct{ server, client func() (socket, error) }{
		"of this process": {own, own}, "over the bus": {bus, bus}, "server over the bus": {bus, own}, "client over the bus": {own, bus},
	} {
		t.Run(name, func(t *testing.T) { listens(t, ends.server, ends.client) })
	}
}

func listens(t *testing.T, serverSocket, clientSocket func() (socket, error)) {
	t.Cleanup(rxrpc.CloseShared)
	ctx, cancel := context.WithCancel(t.Context())
	at, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- serve(ctx, serverSocket, "127.0.0.1:0", func(a rxrpc.Addr) { at <- a.Addr.String() })
	}()
	var server string
	select {
	case server = <-at:
	case err := <-done:
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for _, text := range []string{"", "hello", strings.Repeat("lots of it ", 20000)} {
		wg.Go(func() {
			reply, err := request(t.Context(), clientSocket, server, []byte(text))
			assert.NoError(t, err)
			assert.Equal(t, strings.ToUpper(text), string(reply))
		})
	}
	wg.Wait()
	_, err := request(t.Context(), clientSocket, server, make([]byte, longest+1))
	assert.True(t, errors.Is(err, rxrpc.Abort(rxrpc.UserAbort)) || errors.Is(err, syscall.ESHUTDOWN), "aborted, or noticed after it: %v", err)
	cancel()
	require.NoError(t, <-done)
}

func TestNoBroker(t *testing.T) {
	require.Error(t, run(t.Context(), "127.0.0.1:0", "", true, t.TempDir()+"/none", security{}, ""))
}
