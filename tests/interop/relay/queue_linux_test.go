package relay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTheQueueIsInOrder(t *testing.T) {
	var q queue
	for _, at := range []time.Duration{5, 1, 3, 1, 4, 1} {
		q.push(at*ms, nil, false, []byte{byte(at), byte(q.seq)})
	}
	var got [][]byte
	for range 6 {
		p := q.pop()
		got = append(got, append([]byte(nil), p.data...))
		q.release(p)
	}
	assert.Equal(t, [][]byte{{1, 1}, {1, 3}, {1, 5}, {3, 2}, {4, 4}, {5, 0}}, got)
	_, ok := q.next()
	assert.False(t, ok)
	assert.Len(t, q.free, 6)
}
