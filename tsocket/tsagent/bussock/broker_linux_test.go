package bussock_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

func init() {
	carriers = append(carriers, carrier{"broker", func(t testing.TB) (a, b connector.Bus) {
		s := newSite(t)
		return s.dial(), s.dial()
	}}, carrier{"broker and its process", func(t testing.TB) (a, b connector.Bus) {
		s := newSite(t)
		b, err := s.broker.Bus(soon(t), "within")
		require.NoError(t, err)
		t.Cleanup(func() { _ = b.Close() })
		return s.dial(), b
	}})
}

// site is a broker in this process, on a socket of its own.
type site struct {
	t      testing.TB
	path   string
	broker *broker.Broker
	stop   func()
}

func newSite(t testing.TB) *site {
	dir, err := os.MkdirTemp("", "bs") // t.TempDir may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, path: filepath.Join(dir, "s")}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start runs the broker, or another one after the end of the last.
func (s *site) start() {
	b, err := broker.New(&broker.Config{Socket: s.path, HistoryDir: "-", Drain: time.Second, Log: slog.New(slog.DiscardHandler)})
	require.NoError(s.t, err)
	s.broker = b
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	s.stop = func() {
		cancel()
		assert.NoError(s.t, <-served)
		s.stop = func() {}
	}
}

// dial connects to the broker.
func (s *site) dial() *client.Bus { return dial(s.t, s.path) }

func dial(t testing.TB, path string) *client.Bus {
	b, err := client.Dial(soon(t), &client.Config{Socket: path, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}
