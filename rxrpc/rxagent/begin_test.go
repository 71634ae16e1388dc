package rxagent

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestBeginThatIsGivenUpLate: a BEGIN_CALL that is given up when it is over leaves the next one of that tag alone.
func TestBeginThatIsGivenUpLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	over, next := &begin{cancel: func() { t.Error("it is over") }}, &begin{cancel: cancel}
	k := &sock{begins: map[uint64]*begin{7: next}}
	assert.False(t, k.giveUp(7, over, syscall.ECANCELED))
	assert.NoError(t, ctx.Err())
	assert.Zero(t, next.why)
	assert.False(t, k.giveUp(8, over, syscall.ECANCELED), "nor is there one")

	assert.True(t, k.giveUp(7, next, syscall.ETIMEDOUT))
	assert.Error(t, ctx.Err())
	assert.False(t, k.giveUp(7, next, syscall.ECANCELED), "once")
	assert.Equal(t, syscall.ETIMEDOUT, next.why)
	assert.False(t, k.interrupt(7, syscall.ECANCELED))
}
