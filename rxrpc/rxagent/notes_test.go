package rxagent

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestNotesOfBlockedRelay: who asks for news again and again, or begins call after call, and does not read what he is told, has one note
// for each call that there is.
func TestNotesOfBlockedRelay(t *testing.T) {
	k := &sock{}
	for range 100 {
		assert.True(t, k.newsOfTag(1))
		assert.False(t, k.newsOfTag(1), "it was not asked for")
		k.asked(1)
	}
	for tag := uint64(2); tag < 100; tag++ {
		assert.True(t, k.newsOfTag(tag))
		k.unnote(tag)
	}
	assert.True(t, k.newsOfTag(200))
	assert.Equal(t, []uint64{1, 200}, k.notes)
	assert.Len(t, k.noted, 2)
	tag, ok := k.note()
	assert.Equal(t, []any{uint64(200), true}, []any{tag, ok}, "1 was asked for")
	_, ok = k.note()
	assert.False(t, ok)
	assert.False(t, k.newsOfTag(200))
	k.asked(200)
	assert.Empty(t, k.noted)
	assert.True(t, k.newsOfTag(200))
}
