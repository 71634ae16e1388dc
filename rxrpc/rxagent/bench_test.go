//go:build linux

package rxagent_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	busclient "github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// withBroker runs a broker with an agent in its process, and returns what dials it.
func withBroker(t testing.TB, cfg *rxagent.Config) (dial func() connector.Bus, stop func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cnbus") // t.TempDir() may be too long for a socket's path
	require.NoError(t, err)
	path := filepath.Join(dir, "b.sock")
	b, err := broker.New(&broker.Config{Socket: path, HistoryDir: "-", Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	bus, err := busclient.Dial(soon(t), &busclient.Config{Name: "rxrpc", Conn: b.Conn, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	agent, err := rxagent.New(soon(t), bus, cfg)
	require.NoError(t, err)
	stop = sync.OnceFunc(func() {
		_ = agent.Close()
		_ = bus.Close()
		cancel()
		require.NoError(t, <-served)
		_ = os.RemoveAll(dir)
	})
	t.Cleanup(stop)
	return func() connector.Bus {
		c, err := busclient.Dial(soon(t), &busclient.Config{Socket: path, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		return c
	}, stop
}

// BenchmarkCalls: unary calls of 100 bytes, direct and by messages through a broker.
func BenchmarkCalls(b *testing.B) {
	for _, callers := range []int{1, 64} {
		name := map[int]string{1: "1", 64: "64"}[callers]
		b.Run("direct/"+name, func(b *testing.B) {
			server := echo(b, 52)
			c := engine(b).Client(server.Addr, nil)
			request := pattern(100)
			b.ResetTimer()
			share(b, callers, func(int) {
				_, err := c.Call(context.Background(), 52, request)
				require.NoError(b, err)
			})
		})
		b.Run("agent/"+name, func(b *testing.B) {
			server := echo(b, 52)
			dial, _ := withBroker(b, nil)
			c := newClient(b, dial())
			s := c.connected(server)
			ctx := context.Background()
			wake := make([]chan struct{}, callers)
			for i := range wake {
				wake[i] = make(chan struct{}, 1)
			}
			go func() {
				for {
					ev, err := c.ep.Recv(ctx)
					if err != nil {
						return
					}
					h, _, _ := rxmsg.ParseHeader(ev.Msg.Data)
					if h.Op != rxmsg.EventMsg {
						panic(h.Op.String())
					}
					wake[h.Arg] <- struct{}{}
				}
			}()
			request := pattern(100)
			b.ResetTimer()
			share(b, callers, func(i int) {
				m := message(b, rxrpc.Msg{Control: control(uint64(i)), Data: request})
				h := rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply, Sock: s}
				require.NoError(b, c.ep.Post(ctx, connector.Message{ID: cbid.RxRPC, Data: append(h.Append(nil), m...)}, connector.Dest{}))
				<-wake[i]
			})
		})
	}
}

// share has callers do b.N things.
func share(b *testing.B, callers int, do func(caller int)) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for i := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do(i)
			}
		})
	}
	wg.Wait()
}
