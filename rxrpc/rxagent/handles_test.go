package rxagent

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestHandles: each is good once, those of a call that is over are gone, and others' stay.
func TestHandles(t *testing.T) {
	var h handles
	h.last = 1<<32 - 2
	a, b, c := h.add(1, 300), h.add(1, 400), h.add(2, 500)
	assert.Equal(t, []uint32{1<<32 - 1, 1, 2}, []uint32{a, b, c}, "0 is none")
	tag, cost, ok := h.take(b)
	assert.Equal(t, []any{uint64(1), 400, true}, []any{tag, cost, ok})
	_, _, ok = h.take(b)
	assert.False(t, ok)
	h.last = 1<<32 - 2
	assert.EqualValues(t, 1, h.add(2, 1), "the one before is in use")
	h.forget(1)
	_, _, ok = h.take(a)
	assert.False(t, ok)
	_, cost, ok = h.take(c)
	assert.True(t, ok)
	assert.Equal(t, 500, cost)
	assert.Equal(t, map[uint64]int{2: 1}, h.cost)
	h.forget(2)
	assert.Empty(t, h.calls)
	assert.Empty(t, h.cost)
	assert.Empty(t, h.of)
}
