package tsocket

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLoopLooksOnlyWhileThatPays(t *testing.T) {
	s := looker{most: 20 * time.Microsecond}
	assert.False(t, s.worthwhile(), "an idle loop sleeps")
	for range lookFrom {
		s.slept(10 * time.Microsecond)
	}
	assert.True(t, s.worthwhile(), "work comes in quick succession")
	for range lookTop {
		s.failed(s.most + time.Microsecond)
	}
	assert.False(t, s.worthwhile(), "it no longer does")
	for range lookTop {
		s.slept(10 * time.Microsecond)
	}
	s.failed(time.Millisecond)
	assert.False(t, s.worthwhile(), "others want the core")
	for range lookTop {
		s.slept(10 * time.Microsecond)
	}
	for range lookTop / 2 {
		s.slept(time.Millisecond)
	}
	assert.False(t, s.worthwhile(), "it sleeps for long")
}
