package rxrpc

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// TestWhatIsLeftDoesNotWaitForLater: who has worked on the queue for others long enough leaves the rest to the endpoint's own goroutine. The one that Later
// means may be waiting for just that: it hands datagrams over.
func TestWhatIsLeftDoesNotWaitForLater(t *testing.T) {
	e, err := Open(netip.MustParseAddrPort("127.0.0.1:0"), &Config{Later: func(func()) bool { return true }})
	require.NoError(t, err)
	t.Cleanup(func() { _ = e.Close() })
	done := make(chan struct{})
	var next func(left int) func(proto.Time)
	next = func(left int) func(proto.Time) {
		return func(proto.Time) {
			if left == 0 {
				close(done)
				return
			}
			e.post(next(left - 1))
		}
	}
	e.flusher.wake() // Later has been asked for something already
	e.post(next(3 * maxRounds))
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("nobody does what is left")
	}
}
