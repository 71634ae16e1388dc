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
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/bustest"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
)

// TestBus holds broker and client together against the promises of the bus.
func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Carrier{Name: "broker", Caps: bustest.All(), New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		s := newSite(t, opt)
		s.config.Stream = s.dial
		return s
	}})
}

// TestBusOverConns: the same over connections of package net.
func TestBusOverConns(t *testing.T) {
	bustest.Run(t, bustest.Carrier{Name: "broker, net.Conn", Caps: bustest.All(), New: func(t testing.TB, opt bustest.SiteOptions) bustest.Site {
		s := newSite(t, opt)
		s.config.Conn = s.dialConn
		return s
	}})
}

// site is a broker on a socket of its own, and the connections to it.
type site struct {
	path   string
	stop   func()
	config client.Config

	mu   sync.Mutex
	cuts []func() // each ends a connection
}

func (s *site) remember(cut func()) {
	s.mu.Lock()
	s.cuts = append(s.cuts, cut)
	s.mu.Unlock()
}

func (s *site) dial(ctx context.Context) (*tsocket.Stream, error) {
	a, err := tsocket.UnixAddr(s.path)
	if err != nil {
		return nil, err
	}
	c, err := tsocket.DialUnix(ctx, tsocket.Addr{}, a)
	if err == nil {
		s.remember(func() { _ = c.SyscallFD(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_RDWR) }) })
	}
	return c, err
}

func (s *site) dialConn(ctx context.Context) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", s.path)
	if err == nil {
		u := c.(*net.UnixConn)
		s.remember(func() { _, _ = u.CloseRead(), u.CloseWrite() })
	}
	return c, err
}

func newSite(t testing.TB, opt bustest.SiteOptions) *site {
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
	}{{"registrations", l.Callbacks}, {"connections", l.Endpoints}, {"memberships", l.Memberships}, {"follows", l.Follows}, {"watches", max(l.Watches, l.Notifies)}} {
		if f.n > 0 {
			text += fmt.Sprintf("%s = %d\n", f.name, f.n)
		}
	}
	p, err := broker.ParsePolicy(text)
	require.NoError(t, err)
	return p
}

func (s *site) Bus(t testing.TB, opt bustest.BusOptions) connector.Bus {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cfg := s.config
	cfg.Name, cfg.Logger = opt.Name, slog.New(slog.DiscardHandler)
	cfg.DialTimeout = 2 * time.Minute // of connections made again, too: the broker may be flooded
	b, err := client.Dial(ctx, &cfg)
	require.NoError(t, err)
	return b
}

// Interrupt ends every connection as the end of the broker's process would.
func (s *site) Interrupt(testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cut := range s.cuts {
		cut()
	}
	s.cuts = nil
}

func (s *site) Close() { s.stop() }
