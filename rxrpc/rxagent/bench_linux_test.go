package rxagent_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

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
			dial := withBroker(b, nil)
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
	before := cpu(b)
	defer func() { b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op") }()
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

// cpu returns the processor time that the process has used, which other processes do not change as they do the time.
func cpu(t testing.TB) int64 {
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return u.Utime.Nano() + u.Stime.Nano()
}
