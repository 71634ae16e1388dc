package rxagent_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// ways are how a client gets to a server: with an endpoint of its own, and through the agent of a broker.
var ways = []struct {
	name string
	open func(b *testing.B) *rxrpc.Endpoint
}{
	{"direct", func(b *testing.B) *rxrpc.Endpoint { return engine(b) }},
	{"agent", func(b *testing.B) *rxrpc.Endpoint {
		bus := withBroker(b, nil)()
		b.Cleanup(func() { _ = bus.Close() })
		c, err := rxclient.Dial(soon(b), bus, nil)
		require.NoError(b, err)
		b.Cleanup(func() { _ = c.Close() })
		e, err := c.Open(local4, nil)
		require.NoError(b, err)
		b.Cleanup(func() { _ = e.Close() })
		return e
	}},
}

// BenchmarkCalls: unary calls of 100 bytes, direct and by messages through a broker.
func BenchmarkCalls(b *testing.B) {
	for _, callers := range []int{1, 64} {
		for _, way := range ways {
			b.Run(fmt.Sprintf("%s/%d", way.name, callers), func(b *testing.B) {
				c := way.open(b).Client(echo(b, 52).Addr, nil)
				request := pattern(100)
				share(b, callers, func() {
					reply, err := c.Call(context.Background(), 52, request)
					if err != nil || len(reply) != len(request) {
						panic(fmt.Sprint(len(reply), err))
					}
				})
			})
		}
	}
}

// BenchmarkBulk: a reply of 64 MiB, and a request.
func BenchmarkBulk(b *testing.B) {
	const size = 64 << 20
	for _, way := range ways {
		b.Run(way.name+"/down", func(b *testing.B) {
			c := way.open(b).Client(source(b, size), nil)
			b.SetBytes(size)
			share(b, 1, func() {
				call, err := c.NewCall(context.Background(), 53)
				require.NoError(b, err)
				_, err = call.WriteLast([]byte("go"))
				require.NoError(b, err)
				n, err := io.Copy(io.Discard, call)
				require.NoError(b, err)
				require.EqualValues(b, size, n)
			})
		})
		b.Run(way.name+"/up", func(b *testing.B) {
			c := way.open(b).Client(source(b, 1), nil)
			piece := pattern(64 << 10)
			b.SetBytes(size)
			share(b, 1, func() {
				call, err := c.NewCall(context.Background(), 53)
				require.NoError(b, err)
				for n := 0; n < size; n += len(piece) {
					_, err = call.Write(piece)
					require.NoError(b, err)
				}
				require.NoError(b, call.CloseWrite())
				_, err = io.Copy(io.Discard, call)
				require.NoError(b, err)
			})
		})
	}
}

// source is a server that reads the request and replies with size bytes.
func source(t testing.TB, size int) (addr netip.AddrPort) {
	t.Helper()
	s := rxrpc.NewServer(engine(t), nil)
	piece := pattern(64 << 10)
	require.NoError(t, s.Handle(53, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		if _, err := io.Copy(io.Discard, call); err != nil {
			return err
		}
		for left := size; left > 0; left -= len(piece) {
			if _, err := call.Write(piece[:min(left, len(piece))]); err != nil {
				return err
			}
		}
		return nil
	})))
	t.Cleanup(func() { _ = s.Close() })
	return s.Endpoint().LocalAddr()
}

// share has callers do b.N things. Besides the time it reports that of the processors, which other programs change less.
func share(b *testing.B, callers int, do func()) {
	b.ResetTimer()
	before := cpu(b)
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				do()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpu returns the processor time that the process has used.
func cpu(t testing.TB) int64 {
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
