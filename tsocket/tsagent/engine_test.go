package tsagent_test

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// onSink makes a site in this process whose clients have sinks.
func onSink(t testing.TB, c tsagent.Config) *site {
	c.Sinks, c.Window, c.Policy = true, 4<<20, tsagent.AllowAll()
	s := onLoopback(t, &c)
	s.sink, s.window = true, 4<<20
	return s
}

// engines are two endpoints of RxRPC, a server and a client.
func engines(t testing.TB, open func(t testing.TB) *rxrpc.Endpoint) (*rxrpc.Client, *rxrpc.Server) {
	se, ce := open(t), open(t)
	s := rxrpc.NewServer(se, nil)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	require.NoError(t, s.Handle(1, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, request...), nil
	})))
	require.NoError(t, s.Handle(2, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		_, err := io.Copy(io.Discard, call)
		return err
	})))
	return ce.Client(se.LocalAddr(), nil), s
}

func direct(t testing.TB) *rxrpc.Endpoint {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// throughBus opens engines on UDP sockets of the agent, by a client of its own each.
func throughBus(site *site) func(t testing.TB) *rxrpc.Endpoint {
	return func(t testing.TB) *rxrpc.Endpoint {
		d, err := site.client(t).UDP(soon(t), local4(0), tsocket.Addr{})
		require.NoError(t, err)
		e, err := rxrpc.OpenOn(d, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e
	}
}

func ways(test func(name string, open func(t testing.TB) *rxrpc.Endpoint)) {
	test("direct", direct)
	test("bus", func(t testing.TB) *rxrpc.Endpoint { return throughBus(onSink(t, tsagent.Config{}))(t) })
}

// The engine takes its UDP endpoint from the agent, through the bus.
func TestEngineOnTheAgentsSocket(t *testing.T) {
	c, _ := engines(t, func(t testing.TB) *rxrpc.Endpoint { return throughBus(onSink(t, tsagent.Config{}))(t) })
	big := make([]byte, 300_000)
	for i := range big {
		big[i] = byte(i * 7)
	}
	for _, request := range [][]byte{[]byte("hello"), big} {
		reply, err := c.Call(soon(t), 1, request)
		require.NoError(t, err)
		require.Equal(t, request, reply)
	}
}

// Engines that send more than there is room for go on, whoever sends: an application that writes, and what came from the network.
func TestEnginesWithLittleRoom(t *testing.T) {
	c, _ := engines(t, func(t testing.TB) *rxrpc.Endpoint {
		s := onLoopback(t, &tsagent.Config{Sinks: true, Policy: tsagent.AllowAll(), Window: 128 << 10})
		s.sink = true
		return throughBus(s)(t)
	})
	callMany(t, c)
}

// callMany has several callers send much.
func callMany(t *testing.T, c *rxrpc.Client) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 4 {
				_, err := c.Call(soon(t), 2, make([]byte, 2<<20))
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
}

func BenchmarkEngineCall(b *testing.B) {
	ways(func(name string, open func(t testing.TB) *rxrpc.Endpoint) {
		b.Run(name, func(b *testing.B) {
			c, _ := engines(b, open)
			request := make([]byte, 64)
			for b.Loop() {
				_, err := c.Call(background, 1, request)
				require.NoError(b, err)
			}
		})
	})
}

func BenchmarkEngineCalls64(b *testing.B) {
	ways(func(name string, open func(t testing.TB) *rxrpc.Endpoint) {
		b.Run(name, func(b *testing.B) {
			c, _ := engines(b, open)
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, 64)
			b.ResetTimer()
			for range 64 {
				go func() {
					request := make([]byte, 64)
					for left.Add(-1) >= 0 {
						if _, err := c.Call(background, 1, request); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range 64 {
				require.NoError(b, <-done)
			}
		})
	})
}

func BenchmarkEngineBulk(b *testing.B) {
	ways(func(name string, open func(t testing.TB) *rxrpc.Endpoint) {
		b.Run(name, func(b *testing.B) {
			c, _ := engines(b, open)
			const size = 1 << 20
			b.SetBytes(size)
			data := make([]byte, size)
			for b.Loop() {
				_, err := c.Call(background, 2, data)
				require.NoError(b, err)
			}
		})
	})
}
