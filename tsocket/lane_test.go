package tsocket_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// A chain of callbacks, each of which starts the next read, gets every byte in
// order, whether it has to wait for it or not.
func TestCallbacksFollowEachOther(t *testing.T) {
	eachPair(t, "data there or not", func(t *testing.T, pair makePair) {
		a, b := pair(t)
		const n = 2000
		done := make(chan struct{})
		buf, got := make([]byte, 1), 0
		var next func(r *tsocket.Request[int64])
		next = func(r *tsocket.Request[int64]) {
			_, err := r.Result()
			ok := assert.NoError(t, err) && assert.Equal(t, byte(got), buf[0])
			if got++; !ok || got == n {
				close(done)
				return
			}
			a.ReadvSend(background, buf).OnDone(next)
		}
		a.ReadvSend(background, buf).OnDone(next)
		for i := 0; i < n; {
			var out []byte
			for range min(1+i%3, n-i) {
				out = append(out, byte(i))
				i++
			}
			_, err := b.Writev(background, out)
			require.NoError(t, err)
		}
		<-done
	})
}

// A callback leaves what comes next to its own goroutine, but may wait for it.
func TestCallbackMayWaitForTheNext(t *testing.T) {
	for name, ready := range map[string]bool{"data there": true, "no data yet": false} {
		t.Run(name, func(t *testing.T) {
			a, b := unixPair(t)
			buf := make([]byte, 1)
			left := 10
			done := make(chan struct{})
			var mu sync.Mutex
			send := func() { // what is sent may be answered before the write has ended
				mu.Lock()
				defer mu.Unlock()
				write(t, b, "x")
			}
			var next func(r *tsocket.Request[int64])
			next = func(r *tsocket.Request[int64]) {
				_, err := r.Result()
				if left--; assert.NoError(t, err) && left > 0 {
					if ready {
						send()
					}
					inner := make(chan struct{})
					a.ReadvSend(background, buf).OnDone(func(r *tsocket.Request[int64]) {
						next(r)
						close(inner)
					})
					if !ready {
						send()
					}
					<-inner
					return
				}
				close(done)
			}
			a.ReadvSend(background, buf).OnDone(next)
			send()
			<-done
		})
	}
	t.Run("by Wait, Done and Cancel", func(t *testing.T) {
		a, b := unixPair(t)
		buf := make([]byte, 1)
		begun, done := make(chan struct{}), make(chan struct{})
		a.ReadvSend(background, buf).OnDone(func(*tsocket.Request[int64]) {
			defer close(done)
			<-begun
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
		close(begun)
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
