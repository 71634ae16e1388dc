//go:build linux

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/broker"
)

// brokerConfig is what a test says of its broker.
type brokerConfig struct {
	Socket     string
	Policy     string // TOML; "" is the default of the user
	QueueBytes int
}

// brokerMain is a broker as `cnbus serve` runs it: SIGTERM stops it gracefully. On
// SIGUSR1 it gives the memory that it does not use back and prints its number of goroutines.
func brokerMain() error {
	c, err := roleConfig[brokerConfig]()
	if err != nil {
		return err
	}
	cfg := &broker.Config{
		Socket: c.Socket, QueueBytes: c.QueueBytes, Drain: time.Second, // those who never read take all of it
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if c.Policy != "" {
		if cfg.Policy, err = broker.ParsePolicy(c.Policy); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b, err := broker.New(cfg)
	if err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			debug.FreeOSMemory()
			fmt.Println(runtime.NumGoroutine())
		}
	}()
	fmt.Println("ready")
	return b.Serve(ctx)
}

// site is a socket and the broker that serves it.
type site struct {
	*process
	t   testing.TB
	cfg brokerConfig
}

// newSite starts a broker. When the test ends it stops, and must do so in good order.
func newSite(t testing.TB, cfg brokerConfig) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // nobody may come in too
	cfg.Socket = filepath.Join(dir, "b.sock")
	s := &site{t: t, cfg: cfg}
	t.Cleanup(func() {
		if s.process == nil {
			return
		}
		defer s.kill()
		if !t.Failed() {
			s.stop()
		}
		if t.Failed() {
			t.Logf("the broker's log ends:\n%s", tail(s.log.String()))
		}
	})
	s.start()
	return s
}

func tail(text string) string { return text[max(0, len(text)-4000):] }

// start runs the broker, or another one after the end of the last.
func (s *site) start() {
	s.t.Helper()
	s.process = launch(s.t, "broker", s.cfg)
	require.Equal(s.t, "ready", s.line())
}

// stop ends the broker gracefully.
func (s *site) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.wait()
	assert.NotContains(s.t, s.log.String(), "panic")
}

// crash kills the broker. What it said until then must be no panic or data race.
func (s *site) crash() {
	s.t.Helper()
	s.kill()
	require.ErrorContains(s.t, s.err, "signal: killed", "%s", &s.log)
}

// logged waits until the broker's log has a line with all the words.
func (s *site) logged(words ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("a line in the log with %q", words), func() bool {
	lines:
		for line := range strings.Lines(s.log.String()) {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return true
		}
		return false
	})
}
