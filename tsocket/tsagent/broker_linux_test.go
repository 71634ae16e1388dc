package tsagent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// realBroker is a broker on a socket of its own, which can be stopped and started.
type realBroker struct {
	path string
	stop func()
}

func newBroker(t testing.TB) *realBroker {
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &realBroker{path: filepath.Join(dir, "b.sock")}
	b.start(t)
	t.Cleanup(func() { b.stop() })
	return b
}

func (r *realBroker) start(t testing.TB) {
	p, err := broker.ParsePolicy("[[rule]]\nuid = [\"*\"]\nregister = [\"*\"]\nsend = [\"*\"]\njoin = [\"*\"]\npublish = [\"*\"]\nunicast = true\nmonitor = true\n")
	require.NoError(t, err)
	b, err := broker.New(&broker.Config{
		Socket: r.path, HistoryDir: "-", Drain: time.Second, Log: slog.New(slog.DiscardHandler), Policy: p,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(background)
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-done)
	})
}

func (r *realBroker) dial(t testing.TB) connector.Bus {
	b, err := client.Dial(soon(t), &client.Config{Socket: r.path, Name: "test", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func init() {
	onBroker = func(t testing.TB, c *tsagent.Config) *site {
		b := newBroker(t)
		s := &site{bus: b.dial}
		s.start(t, c)
		return s
	}
}
