package bussock_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

// While the broker is away sockets and nodes can be closed, and their ids are free when it is back.
func TestCloseWhileTheBrokerIsAway(t *testing.T) {
	s := newSite(t)
	n, m := node(t, s.dial(), nil), node(t, s.dial(), nil)
	d, err := n.Dgram(nil)
	require.NoError(t, err)
	stop, err := n.Publish(soon(t), dialedID, "first", d)
	require.NoError(t, err)
	var ids []cbid.ID
	for i := range uint32(20) { // more than it would do one after the other
		id := cbid.Make(0x70000001, i)
		ids = append(ids, id)
		if i%2 == 0 {
			_, err = n.Publish(soon(t), id, "another", d)
		} else {
			_, err = n.Listen(soon(t), id, nil)
		}
		require.NoError(t, err)
	}
	s.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.Error(t, stop(), "it cannot be told")
		assert.NoError(t, n.Close())
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.FailNow(t, "it waits for the broker")
	}
	s.start()
	for _, id := range append(ids, dialedID) {
		waitFor(t, "the id is free", func() bool {
			l, err := m.Listen(soon(t), id, nil)
			if err != nil {
				require.ErrorIs(t, err, syscall.EADDRINUSE)
				return false
			}
			require.NoError(t, l.Close())
			return true
		})
	}
	_, err = m.Lookup(soon(t), dialedID)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
