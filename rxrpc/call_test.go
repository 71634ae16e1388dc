package rxrpc_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
)

// stuck is a handler that waits for its context, and says when it came and went.
type stuck struct{ came, went chan struct{} }

func newStuck() *stuck { return &stuck{make(chan struct{}, 64), make(chan struct{}, 64)} }

func (s *stuck) ServeRx(ctx context.Context, call *rxrpc.ServerCall) error {
	s.came <- struct{}{}
	<-ctx.Done()
	s.went <- struct{}{}
	return ctx.Err()
}

func wait(t testing.TB, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-soon(t).Done():
		t.Fatal("it never came")
	}
}

// TestTenThousandCallsAtATime: none is answered before all are there.
func TestTenThousandCallsAtATime(t *testing.T) {
	const n = 10_000
	const patience = 5 * time.Minute // for all of them together
	cfg := &rxrpc.Config{
		Limits: rxrpc.Limits{CallsPerHost: n, ConnsPerBundle: n},
		// PINGs of so many calls by themselves are thousands in a second, and those who answer are this process too.
		Timers: rxrpc.Timers{HeardNothing: patience, LostReply: patience / 6},
	}
	var there atomic.Int32
	all := make(chan struct{})
	s := rxrpc.NewServer(open(t, local4, cfg), &rxrpc.ServerConfig{Workers: n})
	t.Cleanup(func() { _ = s.Close() })
	require.NoError(t, s.Handle(1, rxrpc.Unary(func(ctx context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		if there.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
		return append(dst, request...), nil
	})))
	c := open(t, local4, cfg).Client(s.Endpoint().LocalAddr(), nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	var ok atomic.Int32
	for i := range n {
		wg.Go(func() {
			request := fmt.Appendf(nil, "call %d", i)
			reply, err := c.Call(ctx, 1, request)
			if err == nil && bytes.Equal(request, reply) {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, n, ok.Load())
}
