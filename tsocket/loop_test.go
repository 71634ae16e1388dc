package tsocket_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// loopKinds are the loop of this system, and that of those without epoll.
var loopKinds = []struct {
	name string
	make func(c *tsocket.LoopConfig) (*tsocket.Loop, error)
}{
	{"epoll", tsocket.NewLoop},
	{"goroutines", func(c *tsocket.LoopConfig) (*tsocket.Loop, error) { return tsocket.NewGoLoop(c), nil }},
}

func eachLoop(t *testing.T, test func(t *testing.T, l *tsocket.Loop)) {
	for _, k := range loopKinds {
		t.Run(k.name, func(t *testing.T) {
			l, err := k.make(nil)
			require.NoError(t, err)
			start(t, l)
			test(t, l)
		})
	}
}

// start runs l until the end of the test, and then requires that Run returns nil.
func start(t testing.TB, l *tsocket.Loop) {
	done := make(chan error, 1)
	go func() { done <- l.Run(background) }()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		require.NoError(t, <-done)
	})
}

// attached returns a pair of streams on l.
func attached(t testing.TB, l *tsocket.Loop) (a, b *tsocket.Stream) {
	a, b = unixPair(t)
	require.NoError(t, l.Attach(a))
	require.NoError(t, l.Attach(b))
	return a, b
}

// on calls fn on l and waits.
func on(t testing.TB, l *tsocket.Loop, fn func()) { require.NoError(t, l.Do(soon(t), fn)) }

func TestLoopPostsInOrder(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		var got []int
		for i := range 1000 {
			require.True(t, l.Post(func() { got = append(got, i) }))
		}
		on(t, l, func() {})
		require.Len(t, got, 1000)
		assert.IsIncreasing(t, got)
		inside := false
		on(t, l, func() {
			// On the loop itself Do does not wait for the loop.
			if l.Do(background, func() { inside = true }) == nil {
				assert.True(t, inside)
			}
		})
	})
}

func TestLoopTimers(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		var order []string
		done := make(chan struct{})
		note := func(s string) func() { return func() { order = append(order, s) } }
		on(t, l, func() {
			last := l.AfterFunc(time.Hour, func() { order = append(order, "last"); close(done) })
			l.AfterFunc(2*time.Millisecond, note("first"))
			never := l.AfterFunc(3*time.Millisecond, note("never"))
			later := l.AfterFunc(time.Millisecond, note("later"))
			assert.True(t, never.Stop())
			assert.False(t, never.Stop())
			assert.True(t, later.Reset(10*time.Millisecond))
			assert.True(t, last.Reset(10*time.Millisecond))
		})
		<-done
		assert.Equal(t, []string{"first", "later", "last"}, order)
		again := make(chan struct{}, 1)
		tm := l.AfterFunc(time.Hour, func() { again <- struct{}{} })
		assert.True(t, tm.Reset(0), "from another goroutine, while the loop sleeps")
		<-again
		assert.False(t, tm.Stop())
		assert.False(t, tm.Reset(0))
		<-again
	})
}

// A server and its clients, all callbacks, some of whose operations are finished at
// once: no two callbacks ever run at the same time.
func TestLoopCallbacksNeverConcurrent(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		var inside atomic.Int32
		enter := func() func() {
			assert.EqualValues(t, 1, inside.Add(1))
			return func() { inside.Add(-1) }
		}
		const pairs, rounds = 8, 200
		left := pairs
		done := make(chan struct{})
		for range pairs {
			a, b := attached(t, l)
			ab, bb := make([]byte, 10), make([]byte, 10)
			var echo func()
			echo = func() {
				b.ReadSomeSend(background, bb).OnDone(func(r *tsocket.Request[int]) {
					defer enter()()
					if n, err := r.Result(); err == nil {
						b.WritevSend(background, bb[:n]).OnDone(func(*tsocket.Request[int64]) {
							defer enter()()
							echo()
						})
					}
				})
			}
			echo()
			n := 0
			var ping func()
			ping = func() {
				a.WritevSend(background, ab)
				a.ReadvSend(background, ab).OnDone(func(r *tsocket.Request[int64]) {
					defer enter()()
					_, err := r.Result()
					assert.NoError(t, err)
					if n++; n < rounds {
						ping()
					} else if left--; left == 0 {
						close(done)
					}
				})
			}
			go ping()
		}
		for range 100 {
			go l.Post(func() { enter()() })
			l.AfterFunc(time.Microsecond, func() { enter()() })
		}
		<-done
	})
}

func TestLoopRefuses(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		a, b := attached(t, l)
		require.ErrorIs(t, l.Attach(a), tsocket.ErrAlready)
		other, err := tsocket.NewLoop(nil)
		require.NoError(t, err)
		closeLater(t, other)
		require.ErrorIs(t, other.Attach(a), tsocket.ErrAlready)
		_, err = other.Watch(a, tsocket.Readable, func(tsocket.Ready) {})
		require.ErrorIs(t, err, tsocket.ErrAlready)
		w, err := l.Watch(b, tsocket.Readable, func(tsocket.Ready) {})
		require.NoError(t, err)
		_, err = l.Watch(b, tsocket.Readable, func(tsocket.Ready) {})
		require.ErrorIs(t, err, tsocket.ErrAlready)
		w.Stop()
		require.NoError(t, a.Close())
		c, d := tsocket.Pipe()
		closeLater(t, c, d)
		_, err = l.Watch(c, tsocket.Readable, func(tsocket.Ready) {})
		require.ErrorIs(t, err, tsocket.ErrNotSupported)
		on(t, l, func() {}) // it runs
		require.ErrorIs(t, l.Run(background), tsocket.ErrBusy)
		e, f := unixPair(t)
		require.NoError(t, e.Close())
		require.ErrorIs(t, l.Attach(e), net.ErrClosed)
		require.NoError(t, other.Close())
		require.NoError(t, other.Close())
		require.ErrorIs(t, other.Attach(f), net.ErrClosed)
		require.ErrorIs(t, other.Attach(d), net.ErrClosed)
		require.NoError(t, other.Run(background))
		assert.False(t, other.Post(func() {}))
		require.ErrorIs(t, other.Do(background, func() {}), net.ErrClosed)
	})
}

// A loop whose context has ended can be run again; nothing is lost.
func TestLoopRunsAgain(t *testing.T) {
	for _, k := range loopKinds {
		t.Run(k.name, func(t *testing.T) {
			l, err := k.make(nil)
			require.NoError(t, err)
			closeLater(t, l)
			a, b := attached(t, l)
			r := a.ReadvSend(background, make([]byte, 2))
			for i := range 3 {
				ctx, cancel := context.WithCancel(background)
				require.True(t, l.Post(cancel))
				require.ErrorIs(t, l.Run(ctx), context.Canceled)
				require.True(t, r.InProgress(), i)
			}
			write(t, b, "ab")
			ctx, cancel := context.WithCancel(background)
			r.OnDone(func(*tsocket.Request[int64]) { cancel() })
			require.ErrorIs(t, l.Run(ctx), context.Canceled)
			n, err := r.Result()
			require.NoError(t, err)
			assert.EqualValues(t, 2, n)
		})
	}
}

// Waiting on the loop holds it up, but not for ever: who waits runs the request. When he gives
// up, the loop goes on with it.
func TestLoopWaitInside(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		a, b := attached(t, l)
		buf := make([]byte, 4)
		r := b.ReadvSend(background, buf)
		on(t, l, func() {
			_, err := r.Wait(shortlyFor(t, 5*time.Millisecond))
			assert.ErrorIs(t, err, tsocket.ErrTimeout)
			_, err = a.TryWrite([]byte("ab"))
			assert.NoError(t, err)
		})
		on(t, l, func() {
			_, err := a.TryWrite([]byte("cd"))
			assert.NoError(t, err)
			_, err = r.Wait(soon(t))
			assert.NoError(t, err)
		})
		n, err := r.Wait(soon(t))
		require.NoError(t, err)
		assert.EqualValues(t, 4, n)
		assert.Equal(t, "abcd", string(buf))
	})
}
