//go:build linux

package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/client"
)

// TestBus holds broker and client together against the promises of the bus.
func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Carrier{Name: "broker", Caps: bustest.All(), New: newSite})
}

// site is a broker on a socket of its own, and the connections to it.
type site struct {
	path string
	stop func()

	mu    sync.Mutex
	conns []net.Conn
}

func newSite(t testing.TB, opt bustest.SiteOptions) bustest.Site {
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{path: filepath.Join(dir, "b.sock")}
	cfg := &broker.Config{Socket: s.path, HistoryDir: "-", Drain: time.Second, Log: slog.New(slog.DiscardHandler)}
	if opt.Small {
		cfg.QueueBytes = 64 << 10
	}
	cfg.Policy = policy(t, opt.Limits)
	s.stop = startBroker(t, cfg)
	return s
}

// startBroker runs a broker; the function that it returns ends it.
func startBroker(t testing.TB, cfg *broker.Config) (stop func()) {
	b, err := broker.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-done)
	})
}

func policy(t testing.TB, l bustest.Limits) *broker.Policy {
	text := "[[rule]]\nuid = [\"*\"]\nregister = [\"*\"]\nsend = [\"*\"]\njoin = [\"*\"]\npublish = [\"*\"]\nunicast = true\nmonitor = true\n[[limit]]\n"
	for _, f := range []struct {
		name string
		n    int
	}{{"registrations", l.Callbacks}, {"connections", l.Endpoints}, {"memberships", l.Memberships}, {"watches", max(l.Watches, l.Notifies)}} {
		if f.n > 0 {
			text += fmt.Sprintf("%s = %d\n", f.name, f.n)
		}
	}
	p, err := broker.ParsePolicy(text)
	require.NoError(t, err)
	return p
}

func (s *site) Bus(t testing.TB, opt bustest.BusOptions) connector.Bus {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := client.Dial(ctx, &client.Config{
		Name:   opt.Name,
		Logger: slog.New(slog.DiscardHandler),
		Conn: func(ctx context.Context) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "unix", s.path)
			if err == nil {
				s.mu.Lock()
				s.conns = append(s.conns, c)
				s.mu.Unlock()
			}
			return c, err
		},
	})
	require.NoError(t, err)
	return b
}

// Interrupt ends every connection as the end of the broker's process would.
func (s *site) Interrupt(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.(*net.UnixConn).CloseRead()
		_ = c.(*net.UnixConn).CloseWrite()
	}
	s.conns = nil
}

func (s *site) Close() { s.stop() }
