package broker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAcceptingGoesOnAfterDescriptorsRanOut: also when no client with a socket is there whose end would tell: the descriptors
// may have been anybody's in the process.
func TestAcceptingGoesOnAfterDescriptorsRanOut(t *testing.T) {
	r := run(t, Config{})
	for range 3 {
		require.NoError(t, r.loop.do(context.Background(), func() { r.loop.starve(true) })) // as accept does
		c := r.client()
		require.NoError(t, r.loop.do(context.Background(), func() { assert.False(t, r.loop.starved) }))
		require.NoError(t, c.Close())
	}
}

// TestWhoIsRefusedBeforeTheGreetingDoesNotFillTheLog: a stranger connects as often as it likes.
func TestWhoIsRefusedBeforeTheGreetingDoesNotFillTheLog(t *testing.T) {
	var out bytes.Buffer
	s := &tlsServer{loop: &loop{log: slog.New(slog.NewTextHandler(&out, nil))}}
	const n = 100_000
	for range n {
		s.warn("remote", "192.0.2.1:5", "why", errors.New("no certificate"))
	}
	lines := strings.Count(out.String(), "\n")
	assert.GreaterOrEqual(t, lines, warnMax)
	assert.Less(t, lines, n/10)
}
