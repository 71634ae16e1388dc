package rxrpc_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// laterQueue is a Config.Later that runs what it is given when it is told to.
type laterQueue struct {
	mu    sync.Mutex
	queue []func()
	over  bool
}

func (q *laterQueue) later(fn func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over {
		return false
	}
	q.queue = append(q.queue, fn)
	return true
}

func (q *laterQueue) run() (n int) {
	q.mu.Lock()
	fns := q.queue
	q.queue = nil
	q.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
	return len(fns)
}

// TestLater: what is submitted together leaves when Later says so, all at once; and all the same when it refuses.
func TestLater(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:0")
	se, err := rxrpc.Open(at, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = se.Close() })
	s := rxrpc.NewServer(se, nil)
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Handle(1, echo))

	q := &laterQueue{}
	pool := rxrpc.NewPool(nil)
	t.Cleanup(pool.CloseUnused)
	k, err := rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Endpoint: &rxrpc.Config{Later: q.later, Retain: -1}, Pool: pool})
	require.NoError(t, err)
	t.Cleanup(func() { _ = k.Close() })
	to := rxrpc.Addr{Service: 1, Addr: se.LocalAddr()}
	require.NoError(t, k.Bind(rxrpc.Addr{Addr: netip.MustParseAddrPort("127.0.0.1:0")}))
	const many = 3
	submit := func(from uint64) {
		for tag := range uint64(many) {
			k.Submit(rxrpc.Msg{
				Name: to, Control: rxrpc.Control{CallID: from + tag, HasCallID: true}, Flags: rxrpc.MsgBatch, Data: []byte("hello"),
			}, func(_ int, err error) { require.NoError(t, err) })
		}
	}
	replies := func() {
		for got := 0; got < many; {
			m, err := k.Recvmsg(soon(t), make([]byte, 100), 0)
			require.NoError(t, err)
			if m.Flags&rxrpc.MsgEOR != 0 {
				got++
			}
		}
	}
	submit(1)
	require.Empty(t, se.Stats().Received)
	require.Equal(t, 1, q.run(), "it is asked once")
	replies()
	q.run()
	q.mu.Lock()
	q.over = true
	q.mu.Unlock()
	submit(10)
	replies()
}
