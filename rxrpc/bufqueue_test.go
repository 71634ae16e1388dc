package rxrpc

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// TestQueueDoesNotGrowWithWhatWentThrough: with one piece always left in it.
func TestQueueDoesNotGrowWithWhatWentThrough(t *testing.T) {
	var q bufQueue
	bufs := make([]proto.Buf, 10_000)
	for i := range bufs {
		q.push(&bufs[i])
		if i == 0 {
			continue
		}
		assert.Same(t, &bufs[i-1], q.bufs[q.head])
		q.bufs[q.head] = nil
		q.head++
	}
	assert.LessOrEqual(t, cap(q.bufs), 16)
	assert.False(t, q.empty())
}
