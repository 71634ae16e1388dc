package tsocket_test

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// A callback that starts the next read has it done by the goroutine that it
// runs on: callbacks of a direction follow each other.
func TestCallbacksFollowEachOther(t *testing.T) {
	eachPair(t, "data there or not", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		const n = 2000
		var inside atomic.Int32
		done := make(chan struct{})
		buf, left := make([]byte, 1), n
		var next func(r *tsocket.Request[int64])
		next = func(r *tsocket.Request[int64]) {
			assert.EqualValues(t, 1, inside.Add(1), "one at a time")
			_, err := r.Result()
			if left--; !assert.NoError(t, err) || left == 0 {
				close(done)
				return
			}
			again := a.ReadvSend(background, buf)
			if left%2 == 0 {
				runtime.Gosched()
			}
			inside.Add(-1)
			again.OnDone(next)
		}
		a.ReadvSend(background, buf).OnDone(next)
		for i := 0; i < n; {
			k := 1 + i%3
			_, err := b.Writev(background, make([]byte, min(k, n-i)))
			require.NoError(t, err)
			i += k
		}
		<-done
	})
}

// It need not: a callback that waits for what comes after it gets it.
func TestCallbackMayWaitForTheNext(t *testing.T) {
	for name, ready := range map[string]bool{"data there": true, "no data yet": false} {
		t.Run(name, func(t *testing.T) {
			a, b := unixPair(t)
			buf := make([]byte, 1)
			left := 10
			done := make(chan struct{})
			var next func(r *tsocket.Request[int64])
			next = func(r *tsocket.Request[int64]) {
				_, err := r.Result()
				if left--; assert.NoError(t, err) && left > 0 {
					if ready {
						write(t, b, "x")
					}
					inner := make(chan struct{})
					a.ReadvSend(background, buf).OnDone(func(r *tsocket.Request[int64]) {
						next(r)
						close(inner)
					})
					if !ready {
						write(t, b, "x")
					}
					<-inner
					return
				}
				close(done)
			}
			a.ReadvSend(background, buf).OnDone(next)
			write(t, b, "x")
			<-done
		})
	}
	t.Run("by Wait, Done and Cancel", func(t *testing.T) {
		a, b := unixPair(t)
		buf := make([]byte, 1)
		done := make(chan struct{})
		a.ReadvSend(background, buf).OnDone(func(*tsocket.Request[int64]) {
			defer close(done)
			var told atomic.Int32
			tell := func(*tsocket.Request[int64]) { told.Add(1) }
			r := a.ReadvSend(background, buf)
			r.OnDone(tell)
			write(t, b, "x")
			_, err := r.Wait(background)
			assert.NoError(t, err)
			r = a.ReadvSend(background, buf)
			r.OnDone(tell)
			write(t, b, "x")
			<-r.Done()
			r = a.ReadvSend(background, buf)
			r.OnDone(tell)
			assert.True(t, r.Cancel())
			for told.Load() < 3 {
				runtime.Gosched()
			}
		})
		write(t, b, "x")
		<-done
	})
}

// A goroutine that ends in a callback leaves nothing undone.
func TestCallbackThatEndsItsGoroutine(t *testing.T) {
	a, b := unixPair(t)
	buf := make([]byte, 1)
	done := make(chan struct{})
	a.ReadvSend(background, buf).OnDone(func(*tsocket.Request[int64]) {
		a.ReadvSend(background, buf).OnDone(func(*tsocket.Request[int64]) { close(done) })
		runtime.Goexit()
	})
	write(t, b, "x")
	write(t, b, "y")
	<-done
}
