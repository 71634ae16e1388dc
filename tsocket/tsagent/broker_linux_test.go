package tsagent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
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

// When the broker ends, each socket fails once and clearly; when it is back, and the agent with it, others can be opened.
func TestBrokerRestart(t *testing.T) {
	b := newBroker(t)
	agentBus := b.dial(t)
	a, err := tsagent.New(soon(t), agentBus, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	c, err := tsagent.NewClient(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })

	l, err := c.ListenTCP(soon(t), local4(0), nil)
	require.NoError(t, err)
	s, err := c.DialTCP(soon(t), tsocket.Addr{}, l.Addr())
	require.NoError(t, err)
	p, err := l.Accept(soon(t))
	require.NoError(t, err)
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	reading := s.ReadvSend(background, make([]byte, 10))
	monitor := p.MonitorSend(background)
	receiving := d.RecvFromSend(background)
	accepting := make(chan error, 1)
	go func() {
		_, err := l.Accept(background)
		accepting <- err
	}()
	b.stop()
	_, err = reading.Wait(soon(t))
	require.ErrorIs(t, err, tsagent.ErrDown)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	_, err = monitor.Wait(soon(t))
	require.ErrorIs(t, err, tsagent.ErrDown)
	_, err = receiving.Wait(soon(t))
	require.ErrorIs(t, err, tsagent.ErrDown)
	require.ErrorIs(t, <-accepting, tsagent.ErrDown)
	_, err = s.Writev(soon(t), []byte("x"))
	require.ErrorIs(t, err, tsagent.ErrDown)
	_, err = d.SendTo(soon(t), []byte("x"), d.LocalAddr())
	require.ErrorIs(t, err, tsagent.ErrDown)
	require.NoError(t, s.Disconnect(soon(t)))
	require.NoError(t, d.Close())
	require.NoError(t, l.Close())

	b.start(t)
	require.Eventually(t, func() bool { // the agent is registered again soon
		d, err = c.UDP(soon(t), local4(0), tsocket.Addr{})
		return err == nil
	}, patience, 10*time.Millisecond)
	_, err = d.SendTo(soon(t), []byte("again"), d.LocalAddr())
	require.NoError(t, err)
	got, err := d.RecvFromSend(background).Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "again", string(got.Data))
	require.Equal(t, 1, a.Stats().Sockets, "those of before are closed")
}

// An agent that ends while the broker goes on takes its sockets with it.
func TestAgentEnds(t *testing.T) {
	b := newBroker(t)
	a, err := tsagent.New(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	c, err := tsagent.NewClient(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	d, err := c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.NoError(t, err)
	require.NoError(t, a.Close())
	_, err = d.SendTo(soon(t), []byte("x"), d.LocalAddr())
	require.Error(t, err)
	_, err = c.UDP(soon(t), local4(0), tsocket.Addr{})
	require.ErrorIs(t, err, tsagent.ErrDown)

	a, err = tsagent.New(soon(t), b.dial(t), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.Close()) })
	require.Eventually(t, func() bool {
		_, err = c.UDP(soon(t), local4(0), tsocket.Addr{})
		return err == nil
	}, patience, 10*time.Millisecond)
}
