//go:build !race

package tsocket_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// TestLoopAllocs: what a loop does for who reads and writes by himself allocates nothing, nor do
// posted functions and timers; a request with a callback is two objects.
func TestLoopAllocs(t *testing.T) {
	onlyLinux(t)
	l, err := tsocket.NewLoop(nil)
	require.NoError(t, err)
	start(t, l)
	a, b := unixPair(t)
	newCopier(t, l, b)
	buf := make([]byte, 64)
	none(t, "watch", func() {
		_, _ = a.Writev(background, buf)
		_, _ = a.Readv(background, buf)
	})
	ran := make(chan struct{}, 1)
	fn := func() { ran <- struct{}{} }
	none(t, "post", func() {
		l.Post(fn)
		<-ran
	})
	tm := l.AfterFunc(time.Hour, fn)
	none(t, "timer", func() {
		tm.Reset(0)
		<-ran
	})
	c, d := attached(t, l)
	in := make([]byte, 64)
	callback := func(*tsocket.Request[int64]) { ran <- struct{}{} }
	assert.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		d.ReadvSend(background, in).OnDone(callback)
		_, _ = c.Writev(background, buf)
		<-ran
	}), 2.0, "a request with its list of callbacks")
}
