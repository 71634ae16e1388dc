package tsocket_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// Sockets that always have something to read, functions that post themselves, timers that are
// always due: none keeps the others from their turn.
func TestLoopStarvesNobody(t *testing.T) {
	eachLoop(t, func(t *testing.T, l *tsocket.Loop) {
		stop := false
		defer on(t, l, func() { stop = true })

		flood := make(chan struct{})
		src, dst := unixPair(t)
		require.NoError(t, l.Attach(dst))
		go func() {
			defer close(flood)
			b := make([]byte, 64<<10)
			for {
				if _, err := src.Writev(background, b); err != nil {
					return
				}
			}
		}()
		t.Cleanup(func() {
			_ = src.Close()
			<-flood
		})
		small := make([]byte, 16)
		var read func(*tsocket.Request[int])
		read = func(r *tsocket.Request[int]) {
			if _, err := r.Result(); err == nil && !stop {
				dst.ReadSomeSend(background, small).OnDone(read)
			}
		}
		var again func()
		again = func() {
			if !stop {
				l.Post(again)
			}
		}
		var due *tsocket.LoopTimer
		on(t, l, func() {
			dst.ReadSomeSend(background, small).OnDone(read)
			for range 3 {
				again()
			}
			due = l.AfterFunc(0, func() {
				if !stop {
					due.Reset(0)
				}
			})
		})

		// Everybody else: a timer, a posted function, a request, a watched socket.
		for range 20 {
			a, b := attached(t, l)
			c, d := unixPair(t)
			timer, posted, request, watched := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
			l.AfterFunc(time.Millisecond, func() { close(timer) })
			l.Post(func() { close(posted) })
			b.ReadSomeSend(background, make([]byte, 1)).OnDone(func(*tsocket.Request[int]) { close(request) })
			var w *tsocket.Watch
			var err error
			on(t, l, func() {
				w, err = l.Watch(d, tsocket.Readable, func(tsocket.Ready) {
					close(watched)
					w.Stop()
				})
			})
			require.NoError(t, err)
			write(t, a, "x")
			write(t, c, "x")
			ctx := soon(t)
			for _, what := range []chan struct{}{timer, posted, request, watched} {
				select {
				case <-what:
				case <-ctx.Done():
					require.Fail(t, "starved")
				}
			}
			for _, s := range []*tsocket.Stream{a, b, c, d} {
				require.NoError(t, s.Close())
			}
		}
	})
}

// The budget bounds what is posted in one turn, and timers.
func TestLoopBudget(t *testing.T) {
	for _, k := range loopKinds {
		t.Run(k.name, func(t *testing.T) {
			turn, most, n, timers := 0, 0, 0, 0
			l, err := k.make(&tsocket.LoopConfig{
				Budget:    5,
				BeginTurn: func() { turn++; n, timers = 0, 0 },
				EndTurn:   func() { most = max(most, n, timers) },
			})
			require.NoError(t, err)
			for range 100 {
				l.Post(func() { n++ })
				l.AfterFunc(0, func() { timers++ })
			}
			l.Post(func() { l.AfterFunc(time.Millisecond, func() { _ = l.Close() }) })
			require.NoError(t, l.Run(background))
			assert.Equal(t, 5, most)
			assert.GreaterOrEqual(t, turn, 20)
		})
	}
}

// TestLoopSpin: an idle loop costs no processor time, whatever its sockets have behind
// them and outstanding; neither does one that looks before it sleeps.
func TestLoopSpin(t *testing.T) {
	onlyLinux(t)
	l, err := tsocket.NewLoop(&tsocket.LoopConfig{Look: 20 * time.Microsecond})
	require.NoError(t, err)
	start(t, l)
	var open []*tsocket.Request[int64]
	pair := func(t testing.TB) (a, b *tsocket.Stream) { return attached(t, l) }
	tcp := func(t testing.TB) (a, b *tsocket.Stream) {
		a, b = tcpPair(t)
		require.NoError(t, l.Attach(a))
		require.NoError(t, l.Attach(b))
		return a, b
	}
	for _, p := range []func(testing.TB) (a, b *tsocket.Stream){pair, tcp} {
		// The peer has finished writing, all is read; a write waits, half-open.
		a, b := full(t, p)
		a.SetHalfOpen(true)
		require.NoError(t, b.CloseWrite(background))
		_, err := a.ReadvSend(background, make([]byte, 1)).Wait(soon(t))
		require.ErrorIs(t, err, tsocket.ErrEOF)
		open = append(open, a.WritevSend(background, make([]byte, 4<<20)))

		// Somebody was reading; bytes come that nobody reads, and the end.
		c, d := p(t)
		r := c.ReadvSend(background, make([]byte, 1))
		write(t, d, "ab")
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
		require.NoError(t, d.Close())

		// Nothing happens; a read waits, and a monitor.
		e, _ := p(t)
		e.MonitorSend(background)
		open = append(open, e.ReadvSend(background, make([]byte, 1)))
	}
	u, v, err := tsocket.UnixDgramPair()
	require.NoError(t, err)
	closeLater(t, u, v)
	require.NoError(t, l.Attach(u))
	_, err = v.SendTo(background, []byte("x"), tsocket.Addr{})
	require.NoError(t, err)

	assertIdle(t, 500*time.Millisecond, func(ctx context.Context) {
		_, err = open[0].Wait(ctx)
		require.ErrorIs(t, err, tsocket.ErrTimeout)
	})
	for _, r := range open {
		assert.True(t, r.InProgress())
	}
}
