package natsbridge

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatWaitsForTheBrokerIsBounded: in bytes, as payloads are of any length.
func TestWhatWaitsForTheBrokerIsBounded(t *testing.T) {
	var q inbox
	big := make([]byte, 1<<20)
	n := 0
	put := func(m *nats.Msg) bool {
		dropped, _ := q.put(m)
		return !dropped
	}
	for put(&nats.Msg{Data: big}) {
		require.LessOrEqual(t, n, 1000)
		n++
	}
	assert.Equal(t, inboxBytes, n*len(big))
	require.True(t, put(&nats.Msg{}), "what is nothing has room")
	got := 0
	for b := q.batch(); len(b) > 0; b = q.batch() {
		assert.LessOrEqual(t, len(b), inboxBatch)
		got += len(b)
	}
	assert.Equal(t, n+1, got)
	assert.Zero(t, q.bytes)
	assert.True(t, put(&nats.Msg{Data: make([]byte, inboxBytes+1)}), "one has room, whatever its length")
	// Order.
	q = inbox{}
	for i := range 3 * inboxBatch {
		require.True(t, put(&nats.Msg{Data: []byte{byte(i >> 8), byte(i)}}))
	}
	for i := 0; i < 3*inboxBatch; {
		for _, m := range q.batch() {
			require.Equal(t, []byte{byte(i >> 8), byte(i)}, m.Data)
			i++
		}
	}
}

// TestWhoseLoopIsWoken: once for all that comes until it has taken something, and not before there is one.
func TestWhoseLoopIsWoken(t *testing.T) {
	woken := 0
	q := inbox{wake: func() bool { woken++; return true }}
	come := func(n int) {
		for range n {
			dropped, _ := q.put(&nats.Msg{})
			require.False(t, dropped)
		}
		q.ready()
	}
	q.ready()
	come(1)
	assert.Zero(t, woken, "there is no loop yet")
	q.open()
	assert.Equal(t, 1, woken, "what came before is not forgotten")
	come(inboxBatch)
	assert.Equal(t, 1, woken)
	assert.Len(t, q.batch(), inboxBatch)
	come(1)
	assert.Equal(t, 1, woken, "it is busy")
	q.taken()
	assert.Equal(t, 2, woken, "for the rest")
	assert.Len(t, q.batch(), 2)
	q.taken()
	assert.Equal(t, 2, woken)
	come(1)
	assert.Equal(t, 3, woken)
}
