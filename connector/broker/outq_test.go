package broker

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueueIsAFifoOfBytes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var p bufPool
	var q outq
	var want, got bytes.Buffer
	sent := 0
	for i := range 20000 {
		if rnd.IntN(2) == 0 || q.len() == 0 {
			b := q.extend(&p, 1+rnd.IntN(20000))
			for k := range b {
				b[k] = byte(i + k)
			}
			want.Write(b)
		}
		n := rnd.IntN(min(q.len(), 25000) + 1)
		got.Write(q.pending()[:n])
		q.written(&p, n)
		sent += n
		require.EqualValues(t, sent, q.sent)
		require.Equal(t, want.Len()-got.Len(), q.len())
		if q.len() == 0 {
			require.Nil(t, q.buf, "an empty queue holds no memory")
		}
	}
	assert.True(t, bytes.HasPrefix(want.Bytes(), got.Bytes()))
}

func TestSteadyQueueDoesNotAllocate(t *testing.T) {
	var p bufPool
	var q outq
	burst := func() {
		for range 3000 {
			q.extend(&p, 200)
		}
		q.written(&p, q.len())
	}
	burst()
	assert.Zero(t, testing.AllocsPerRun(20, burst))
}

// Answers are kept however many wait: each must not move all the others.
func TestLongQueueGrowsInSteps(t *testing.T) {
	var p bufPool
	var q outq
	q.extend(&p, bufSizes[len(bufSizes)-1])
	moved := 0
	for range 100_000 {
		was := cap(q.buf)
		q.extend(&p, 40)
		if cap(q.buf) != was {
			moved++
		}
	}
	assert.LessOrEqual(t, moved, 5)
}
