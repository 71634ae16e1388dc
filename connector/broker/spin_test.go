package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLoopLooksOnlyWhileThatPays(t *testing.T) {
	var s spinner
	assert.False(t, s.worthwhile(), "an idle broker sleeps")
	for range spinFrom {
		s.slept(10 * time.Microsecond)
	}
	assert.True(t, s.worthwhile(), "work comes in quick succession")
	for range spinTop {
		s.failed(spinMax + time.Microsecond)
	}
	assert.False(t, s.worthwhile(), "it no longer does")
	for range spinTop {
		s.slept(10 * time.Microsecond)
	}
	s.failed(time.Millisecond)
	assert.False(t, s.worthwhile(), "others want the core")
	for range spinTop {
		s.slept(10 * time.Microsecond)
	}
	for range spinTop / 2 {
		s.slept(time.Millisecond)
	}
	assert.False(t, s.worthwhile(), "it sleeps for long")
}
