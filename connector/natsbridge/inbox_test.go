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
	for q.put(&nats.Msg{Data: big}) {
		require.LessOrEqual(t, n, 1000)
		n++
	}
	assert.Equal(t, inboxBytes, n*len(big))
	require.True(t, q.put(&nats.Msg{}), "what is nothing has room")
	got := 0
	for b := q.batch(); len(b) > 0; b = q.batch() {
		assert.LessOrEqual(t, len(b), inboxBatch)
		got += len(b)
	}
	assert.Equal(t, n+1, got)
	assert.Zero(t, q.bytes)
	assert.True(t, q.put(&nats.Msg{Data: make([]byte, inboxBytes+1)}), "one has room, whatever its length")
	// Order.
	q = inbox{}
	for i := range 3 * inboxBatch {
		require.True(t, q.put(&nats.Msg{Data: []byte{byte(i >> 8), byte(i)}}))
	}
	for i := 0; i < 3*inboxBatch; {
		for _, m := range q.batch() {
			require.Equal(t, []byte{byte(i >> 8), byte(i)}, m.Data)
			i++
		}
	}
}
