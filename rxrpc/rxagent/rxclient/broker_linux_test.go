package rxclient_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/facetest"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// The tests of package rxrpc, through a broker: each endpoint and each socket has a connection of its own.
func TestCallsThroughABroker(t *testing.T) {
	facetest.Calls.Run(t, faces{newHost(t).site()})
}

func TestServersThroughABroker(t *testing.T) {
	facetest.Servers.Run(t, faces{newHost(t).site()})
}

func TestSocketsThroughABroker(t *testing.T) {
	facetest.Sockets.Run(t, faces{newHost(t).site()})
}

func TestErrnosThroughABroker(t *testing.T) { facetest.Errnos.Run(t, faces{newHost(t).site()}) }

// A host has a broker with an agent, which can be stopped and started again.
type host struct {
	t    testing.TB
	path string
	keys *keys

	mu   sync.Mutex
	stop func()
}

func newHost(t testing.TB) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &host{t: t, path: filepath.Join(dir, "b.sock"), keys: newKeys()}
	h.start()
	t.Cleanup(h.end)
	return h
}

// start starts the broker, and the agent in its process.
func (h *host) start() {
	h.t.Helper()
	b, err := broker.New(&broker.Config{Socket: h.path, HistoryDir: "-", Log: slog.New(slog.DiscardHandler)})
	require.NoError(h.t, err)
	served := make(chan error, 1)
	go func() { served <- b.Serve(context.Background()) }()
	bus, err := b.Bus(soon(h.t), "agent")
	require.NoError(h.t, err)
	a := startAgent(h.t, bus, h.keys)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop = func() {
		b.Stop()
		assert.NoError(h.t, <-served)
		_ = a.Close()
		_ = bus.Close()
	}
}

// end stops the broker: its agent is gone with it.
func (h *host) end() {
	h.mu.Lock()
	stop := h.stop
	h.stop = func() {}
	h.mu.Unlock()
	stop()
}

func (h *host) site() *site {
	return &site{keys: h.keys, open: func(t testing.TB) connector.Bus {
		t.Helper()
		bus, err := client.Dial(soon(t), &client.Config{Socket: h.path})
		require.NoError(t, err)
		return bus
	}}
}

// TestRestart: calls in progress fail once, and say why. Then everything is as it was: the server serves again at its port, and
// clients that called meanwhile get their replies.
func TestRestart(t *testing.T) {
	h := newHost(t)
	s := h.site()
	se, err := s.conn(t).Open(local4, nil)
	require.NoError(t, err)
	defer se.Close()
	server := rxrpc.NewServer(se, nil)
	defer server.Close()
	came := make(chan struct{}, 1)
	require.NoError(t, server.HandleUpgrade(7, echo, 8, echo))
	require.NoError(t, server.Handle(9, rxrpc.HandlerFunc(func(ctx context.Context, _ *rxrpc.ServerCall) error {
		came <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})))
	at := se.LocalAddr()
	c, err := s.conn(t).Dial(at.String(), nil)
	require.NoError(t, err)
	defer c.Close()
	sock, err := s.conn(t).NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err)
	defer sock.Close()
	require.NoError(t, sock.Connect(rxrpc.Addr{Service: 9, Addr: at}))

	for range 3 {
		failed := make(chan error, 1)
		go func() {
			for {
				if _, err := c.Call(soon(t), 9, nil); !isNotBack(err) { // services come back one after the other
					failed <- err
					return
				}
			}
		}()
		<-came
		h.end()
		err = <-failed
		require.ErrorIs(t, err, rxclient.ErrDown)
		require.ErrorIs(t, err, syscall.ENOTCONN)
		var n *rxrpc.NetError
		require.ErrorAs(t, err, &n)
		assert.True(t, n.Local)
		meanwhile := make(chan error, 1)
		go func() { // waits for the agent, and then for the server to be back
			for {
				reply, err := c.Call(soon(t), 7, []byte("patient"))
				if err == nil && string(reply) != "patient" {
					err = errors.New("another reply")
				}
				if isNotBack(err) || errors.Is(err, rxclient.ErrDown) {
					continue
				}
				meanwhile <- err
				return
			}
		}()
		h.start()
		require.NoError(t, <-meanwhile)
		_, upgraded, err := c.CallUpgrade(soon(t), 7, []byte("x"))
		require.NoError(t, err)
		assert.EqualValues(t, 8, upgraded)
		assert.Equal(t, at, se.LocalAddr())
	}

	_, err = sock.Sendmsg(soon(t), rxrpc.Msg{Control: rxrpc.Control{CallID: 1, HasCallID: true}})
	require.ErrorIs(t, err, rxclient.ErrDown)
	assert.Equal(t, rxrpc.PollIn|rxrpc.PollHup, sock.Poll())
	require.NoError(t, sock.Close())
	sock, err = s.conn(t).NewSocket(rxrpc.Inet, nil)
	require.NoError(t, err, "it can be opened again")
	require.NoError(t, sock.Close())
}

// TestCallsEndWithTheirContextsWhileTheAgentIsAway: nobody waits longer than he wants to, and what he has waited for is said.
func TestCallsEndWithTheirContextsWhileTheAgentIsAway(t *testing.T) {
	h := newHost(t)
	c, err := h.site().conn(t).Dial("127.0.0.1:7003", nil)
	require.NoError(t, err)
	h.end()
	for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
		for {
			ctx, cancel := context.WithCancelCause(soon(t))
			stop := context.AfterFunc(short(t), func() { cancel(want) })
			_, err := c.Call(ctx, 1, nil)
			stop()
			cancel(nil)
			gaveUp, down := errors.Is(err, want), errors.Is(err, rxclient.ErrDown)
			require.True(t, gaveUp || down, "%v", err)
			if gaveUp && down { // it has begun when the loss was known
				break
			}
		}
	}
	require.NoError(t, c.Close())
}

// short is a context that ends soon.
func short(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestTheBrokerEndsDuringTransfers of much data both ways: every call ends, with all of its data or with an error.
func TestTheBrokerEndsDuringTransfers(t *testing.T) {
	h := newHost(t)
	s := h.site()
	se, err := s.conn(t).Open(local4, nil)
	require.NoError(t, err)
	defer se.Close()
	server := rxrpc.NewServer(se, nil)
	defer server.Close()
	require.NoError(t, server.Handle(1, echoStream))
	c, err := s.conn(t).Dial(se.LocalAddr().String(), nil)
	require.NoError(t, err)
	defer c.Close()
	big := pattern(3_000_000)
	var wg sync.WaitGroup
	begun := make(chan struct{}, 1)
	var over atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !over.Load() {
				reply, err := c.Call(soon(t), 1, big)
				if err != nil {
					assert.True(t, errors.Is(err, rxclient.ErrDown) || isNotBack(err), "%v", err)
					return
				}
				assert.Equal(t, len(big), len(reply))
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	<-begun
	over.Store(true)
	h.end()
	h.start()
	wg.Wait()
	for {
		reply, err := c.Call(soon(t), 1, big)
		if err == nil {
			assert.True(t, string(big) == string(reply))
			return
		}
		require.True(t, isNotBack(err) || errors.Is(err, rxclient.ErrDown), "%v", err)
	}
}

// isNotBack reports whether a call has failed because its server is not there, yet.
func isNotBack(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, rxrpc.Abort(rxrpc.InvalidOperation))
}

func TestKernelsThroughABroker(t *testing.T) {
	facetest.Kernels.Run(t, faces{newHost(t).site()})
}
