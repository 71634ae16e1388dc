package tsocket_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// outstanding starts one of everything that waits on l; each counts in calls when its
// callback is called.
func outstanding(t testing.TB, l *tsocket.Loop, calls *atomic.Int32) (reqs []interface{ InProgress() bool }) {
	a, _ := full(t, unixPair)
	p, _ := tsocket.Pipe()
	closeLater(t, p)
	d := udp(t, loopback4(t), tsocket.Addr{})
	ln, err := tsocket.ListenTCP(loopback4(t), nil)
	require.NoError(t, err)
	closeLater(t, ln)
	for _, s := range []tsocket.Socket{a, p, d, ln} {
		require.NoError(t, l.Attach(s))
	}
	reqs = append(reqs, note(t, calls, a.WritevSend(background, make([]byte, 4<<20))))
	reqs = append(reqs, note(t, calls, a.ReadvSend(background, make([]byte, 1))))
	reqs = append(reqs, note(t, calls, a.MonitorSend(background)))
	reqs = append(reqs, note(t, calls, d.RecvFromSend(background)))
	reqs = append(reqs, note(t, calls, ln.AcceptSend(background)))
	reqs = append(reqs, note(t, calls, p.ReadvSend(background, make([]byte, 1))))
	return reqs
}

func note[T any](t testing.TB, calls *atomic.Int32, r *tsocket.Request[T]) *tsocket.Request[T] {
	require.True(t, r.InProgress())
	r.OnDone(func(r *tsocket.Request[T]) {
		_, err := r.Result()
		assert.ErrorIs(t, err, net.ErrClosed)
		calls.Add(1)
	})
	return r
}

// Close finishes whatever is outstanding and has every callback called: Run does it if it runs, also when
// Close is called by a callback; Close itself otherwise.
func TestLoopClose(t *testing.T) {
	for _, k := range loopKinds {
		for _, how := range []string{"from outside", "from inside", "not running", "after it ran"} {
			t.Run(k.name+" "+how, func(t *testing.T) {
				l, err := k.make(nil)
				require.NoError(t, err)
				var calls, posted atomic.Int32
				reqs := outstanding(t, l, &calls)
				done := make(chan error, 1)
				switch how {
				case "from outside", "from inside":
					go func() { done <- l.Run(background) }()
				case "after it ran":
					require.ErrorIs(t, l.Run(cancelled()), tsocket.ErrCanceled)
					fallthrough
				default:
					done <- nil
				}
				require.True(t, l.Post(func() { posted.Add(1) }))
				if how == "from inside" {
					require.True(t, l.Post(func() { assert.NoError(t, l.Close()) }))
				} else {
					require.NoError(t, l.Close())
				}
				require.NoError(t, <-done)
				for i, r := range reqs[:len(reqs)-1] {
					assert.False(t, r.InProgress(), i)
				}
				// That of the socket without a descriptor is finished by its own goroutine.
				require.Eventually(t, func() bool { return int(calls.Load()) == len(reqs) }, 2*time.Minute, time.Millisecond)
				assert.EqualValues(t, 1, posted.Load())
				assert.False(t, l.Post(func() {}))
			})
		}
	}
}

// Who waits for a request of an attached socket hears of its end, also when the loop
// is closed before it runs.
func TestLoopCloseWakesWaiters(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		a, _ := attached(t, l)
		r := a.ReadvSend(background, make([]byte, 1))
		done := make(chan error, 1)
		go func() {
			_, err := r.Wait(background)
			done <- err
		}()
		require.NoError(t, l.Close())
		require.ErrorIs(t, <-done, net.ErrClosed)
	})
}

// Callbacks that go on starting operations on closed sockets do not keep Close
// from returning; and they are not called at the same time.
func TestLoopCloseWithStubbornCallbacks(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		a, _ := attached(t, l)
		n, over := 0, make(chan struct{})
		var again func(*tsocket.Request[int])
		again = func(*tsocket.Request[int]) {
			if n++; n == 1000 {
				close(over)
				return
			}
			a.ReadSomeSend(background, make([]byte, 1)).OnDone(again)
		}
		a.ReadSomeSend(background, make([]byte, 1)).OnDone(again)
		require.NoError(t, l.Close())
		<-over
	})
}

// The socket is closed while its request is outstanding, its callback starts the next
// one, and another one is closed by a callback of the same turn.
func TestLoopSocketsClosedByCallbacks(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		for range 100 {
			a, b := attached(t, l)
			c, d := attached(t, l)
			done := make(chan struct{}, 2)
			on(t, l, func() {
				a.ReadSomeSend(background, make([]byte, 1)).OnDone(func(*tsocket.Request[int]) {
					assert.NoError(t, c.Close())
					assert.NoError(t, a.Close())
					done <- struct{}{}
				})
				c.ReadSomeSend(background, make([]byte, 1)).OnDone(func(*tsocket.Request[int]) {
					assert.NoError(t, a.Close())
					assert.NoError(t, c.Close())
					done <- struct{}{}
				})
				for _, s := range []*tsocket.Stream{b, d} {
					_, err := s.TryWrite([]byte("x"))
					assert.NoError(t, err)
				}
			})
			<-done
			<-done
			require.NoError(t, b.Close())
			require.NoError(t, d.Close())
		}
	})
}
