package natsbridge

import (
	"net"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatWaitsForASlowNetworkWaitsBeforeNATS: the connection keeps little, so that a ping is not behind everything.
func TestWhatWaitsForASlowNetworkWaitsBeforeNATS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		d := &dialer{}
		c := newNATSConn(here, func() {})
		d.conn.Store(c)
		d.dials.Store(1)
		d.connected(func() bool { return true })
		require.True(t, d.enter())
		d.leave()
		_, err := c.Write(make([]byte, keepMost+1))
		require.NoError(t, err)
		assert.False(t, d.enter(), "the goroutine of the outbox is to wait")
		free := make(chan struct{})
		go func() {
			d.room()
			close(free)
		}()
		synctest.Wait()
		select {
		case <-free:
			t.Error("there is no room")
		default:
		}
		b := make([]byte, 64<<10)
		for n := 0; n < keepMost+1; {
			k, err := there.Read(b)
			require.NoError(t, err)
			n += k
		}
		<-free
		require.True(t, d.enter())
		d.leave()

		// Nor does a connection that breaks hold anybody up.
		_, _ = c.Write(make([]byte, 2*keepMost))
		broken := make(chan struct{})
		go func() {
			d.room()
			close(broken)
		}()
		synctest.Wait()
		require.NoError(t, there.Close())
		<-broken
		require.NoError(t, here.Close())
	})
}
