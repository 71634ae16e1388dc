package testenv

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// A goroutine that needs longer than goleak waits for it is no leak; one that does not end is.
func TestLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	slow := make(chan struct{})
	go func() { <-slow }()
	require.ErrorContains(t, leaks(0, before), "testenv.TestLeaks")
	time.AfterFunc(2*time.Second, func() { close(slow) })
	NoLeaks(t, before)
}
