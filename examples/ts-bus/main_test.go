package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

func TestRun(t *testing.T) {
	bus, done, err := open(t.Context(), "loopback:")
	require.NoError(t, err)
	defer done()
	var out strings.Builder
	require.NoError(t, run(t.Context(), bus, &out))
	assert.Equal(t, told, out.String())
}

// The same through a broker, as a process that has nothing but the bus.
func TestRunOnABroker(t *testing.T) {
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "b.sock")
	b, err := broker.New(&broker.Config{Socket: path, HistoryDir: "-", Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	defer func() {
		cancel()
		assert.NoError(t, <-served)
	}()
	own, err := client.Dial(t.Context(), &client.Config{Socket: path})
	require.NoError(t, err)
	defer own.Close()
	agent, err := tsagent.New(t.Context(), own, nil)
	require.NoError(t, err)
	defer agent.Close()

	bus, done, err := open(t.Context(), "unix:"+path)
	require.NoError(t, err)
	defer done()
	var out strings.Builder
	require.NoError(t, run(t.Context(), bus, &out))
	assert.Equal(t, told, out.String())
}

const told = `addresses:
  ipv4:192.0.2.1:143, 192.0.2.1 port 143, with another port ipv4:192.0.2.1:993, unix:/run/example
datagrams:
  "echo" came back; a second receive: device or resource busy
streams:
  11 bytes in two vectors: "hello " "world"
  after the peer's disconnect: broken pipe
PDUs:
  one
  three
queues:
  first, second, third
`
