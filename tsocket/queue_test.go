package tsocket_test

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// What tevent's queues do: a row each.
func TestProbesQueue(t *testing.T) {
	t.Run("runs when created; an operation that fails does not stop it", func(t *testing.T) {
		q := tsocket.NewQueue("name")
		assert.Equal(t, "name", q.Name())
		assert.True(t, q.Running())
		assert.Zero(t, q.Len())
		a, b := unixPair(t)
		require.NoError(t, a.CloseWrite(background))
		_, err := q.Writev(background, a, []byte("x"))
		isErrno(t, syscall.EPIPE, err)
		_, err = q.Writev(background, b, []byte("x"))
		require.NoError(t, err)
		assert.Zero(t, q.Len())
	})
	t.Run("order: requests, blocking calls and entries in one line", func(t *testing.T) {
		a, b := unixPair(t)
		q := tsocket.NewQueue("q")
		release, err := q.Wait(background)
		require.NoError(t, err)
		var requests []*tsocket.Request[int64]
		var order []string
		var mu sync.Mutex
		note := func(s string) {
			mu.Lock()
			order = append(order, s)
			mu.Unlock()
		}
		for _, s := range []string{"one", "two"} {
			r := q.WritevSend(background, a, []byte(s))
			assert.True(t, r.InProgress())
			r.OnDone(func(*tsocket.Request[int64]) { note(s) })
			requests = append(requests, r)
		}
		held := make(chan *tsocket.Entry, 1)
		_, err = q.Add(func(e *tsocket.Entry) {
			note("entry")
			held <- e
		})
		require.NoError(t, err)
		last := q.WritevSend(background, a, []byte("three"))
		last.OnDone(func(*tsocket.Request[int64]) { note("three") })
		assert.Equal(t, 5, q.Len())
		release()
		release() // does nothing
		for _, r := range requests {
			_, err := r.Wait(soon(t))
			require.NoError(t, err)
		}
		e := <-held
		assert.True(t, last.InProgress(), "the entry holds the queue up")
		assert.Equal(t, 2, q.Len())
		e.Remove()
		e.Remove()
		_, err = last.Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "onetwothree", string(readAll(t, b, 11)))
		require.NoError(t, q.Do(soon(t), func(context.Context) error { return nil }))
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, []string{"one", "two", "entry", "three"}, order)
	})
	t.Run("the callback of one comes before the start of the next", func(t *testing.T) {
		a, _ := full(t, unixPair)
		q := tsocket.NewQueue("q")
		first := q.WritevSend(background, a, []byte("x"))
		require.True(t, first.InProgress())
		var over bool
		first.OnDone(func(*tsocket.Request[int64]) { over = true })
		second := make(chan bool, 1)
		_, err := q.Add(func(e *tsocket.Entry) { second <- over })
		require.NoError(t, err)
		require.True(t, first.Cancel())
		assert.True(t, <-second)
	})
	t.Run("stop keeps the next from starting, start goes on", func(t *testing.T) {
		a, b := unixPair(t)
		q := tsocket.NewQueue("q")
		q.Stop()
		assert.False(t, q.Running())
		r := q.WritevSend(background, a, []byte("x"))
		assert.True(t, r.InProgress())
		assert.Equal(t, 1, q.Len())
		n, err := b.PendingBytes()
		require.NoError(t, err)
		assert.Zero(t, n)
		q.Start()
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
		readAll(t, b, 1)
	})
	t.Run("what waits is cancelled without a trace", func(t *testing.T) {
		a, b := unixPair(t)
		q := tsocket.NewQueue("q")
		release, err := q.Wait(background)
		require.NoError(t, err)
		r := q.WritevSend(background, a, []byte("never"))
		timed := q.WritevSend(background, a, []byte("late"))
		timed.SetDeadline(time.Now().Add(time.Millisecond))
		ctx, stop := ctxAfter(time.Millisecond)
		defer stop()
		inCtx := q.WritevSend(ctx, a, []byte("late"))
		good := q.WritevSend(background, a, []byte("good"))
		require.True(t, r.Cancel())
		_, err = r.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
		_, err = timed.Wait(soon(t))
		isErrno(t, syscall.ETIMEDOUT, err)
		_, err = inCtx.Wait(soon(t))
		isErrno(t, syscall.ETIMEDOUT, err)
		_, err = q.Writev(cancelled(), a, []byte("x"))
		isErrno(t, syscall.ECANCELED, err)
		_, err = q.Wait(cancelled())
		isErrno(t, syscall.ECANCELED, err)
		assert.Equal(t, 2, q.Len())
		release()
		_, err = good.Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, "good", string(readAll(t, b, 4)))
	})
	t.Run("what runs and is cancelled half done poisons its stream, so that the next is not sent behind it", func(t *testing.T) {
		a, b := unixPair(t)
		q := tsocket.NewQueue("q")
		first := q.WritevSend(background, a, make([]byte, 4<<20))
		second := q.WritevSend(background, a, []byte("next"))
		waitReadable(t, b)
		require.True(t, first.Cancel())
		n, err := first.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
		var oe *tsocket.OpError
		require.ErrorAs(t, err, &oe)
		assert.True(t, oe.Poisoned)
		assert.Equal(t, n, oe.N)
		assert.Positive(t, n)
		_, err = second.Wait(soon(t))
		isErrno(t, syscall.ECONNABORTED, err)
		assert.ErrorIs(t, err, tsocket.ErrPoisoned)
	})
	t.Run("closing completes what waits; what runs goes on", func(t *testing.T) {
		a, b := full(t, unixPair)
		q := tsocket.NewQueue("q")
		running := q.WritevSend(background, a, []byte("end"))
		waiting := q.WritevSend(background, a, []byte("never"))
		reading := q.ReadPDUSend(background, a, func(*tsocket.Stream) ([][]byte, error) { return nil, nil })
		turn := q.WaitSend(background)
		blocked := make(chan error, 1)
		go func() {
			_, err := q.SendTo(background, nil, nil, tsocket.Addr{})
			blocked <- err
		}()
		for q.Len() < 5 {
			_, _ = waiting.Wait(cancelled())
		}
		require.NoError(t, q.Close())
		_, err := waiting.Wait(soon(t))
		isErrno(t, syscall.ENOTCONN, err)
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		_, err = reading.Wait(soon(t))
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		_, err = turn.Wait(soon(t))
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		assert.ErrorIs(t, <-blocked, tsocket.ErrClosed)
		assert.ErrorIs(t, q.Do(background, nil), tsocket.ErrClosed)
		_, err = q.Add(nil)
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		_, err = q.WritevSend(background, a, []byte("x")).Result()
		assert.ErrorIs(t, err, tsocket.ErrClosed)
		drainUntil(t, b, running.Done())
		_, err = running.Wait(soon(t))
		require.NoError(t, err)
	})
	t.Run("a request for the turn holds the queue until it is released", func(t *testing.T) {
		q := tsocket.NewQueue("q")
		first := q.WaitSend(background)
		release, err := first.Result()
		require.NoError(t, err)
		second := q.WaitSend(background)
		assert.True(t, second.InProgress())
		release()
		release2, err := second.Wait(soon(t))
		require.NoError(t, err)
		assert.Equal(t, 1, q.Len())
		release2()
		assert.Zero(t, q.Len())
	})
	t.Run("do returns what the function returns", func(t *testing.T) {
		mine := errors.New("mine")
		q := tsocket.NewQueue("q")
		assert.Equal(t, mine, q.Do(background, func(context.Context) error { return mine }))
		assert.Zero(t, q.Len())
	})
	t.Run("sendto", func(t *testing.T) {
		d := udp(t, loopback4(t), tsocket.Addr{})
		q := tsocket.NewQueue("q")
		_, err := q.SendTo(background, d, []byte("a"), d.LocalAddr())
		require.NoError(t, err)
		_, err = q.SendToSend(background, d, []byte("b"), d.LocalAddr()).Wait(soon(t))
		require.NoError(t, err)
		got, _ := recv(t, d)
		assert.Equal(t, "a", got)
		got, _ = recv(t, d)
		assert.Equal(t, "b", got)
	})
}

// drainUntil reads until done is closed.
func drainUntil(t testing.TB, s *tsocket.Stream, done <-chan struct{}) {
	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
		cancel()
	}()
	b := make([]byte, 1<<20)
	for {
		if _, err := s.ReadSome(ctx, b); err != nil {
			require.ErrorIs(t, err, tsocket.ErrCanceled)
			return
		}
	}
}

// TestQueueMany lets many goroutines use one queue: everything arrives whole.
func TestQueueMany(t *testing.T) {
	a, b := unixPair(t)
	q := tsocket.NewQueue("q")
	const writers, each, size = 8, 200, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				msg := make([]byte, size)
				for k := range msg {
					msg[k] = byte(w)
				}
				if i%2 == 0 {
					_, err := q.Writev(background, a, msg[:10], msg[10:])
					assert.NoError(t, err)
					continue
				}
				_, err := q.WritevSend(background, a, msg).Wait(background)
				assert.NoError(t, err)
			}
		})
	}
	for range writers * each {
		msg := readAll(t, b, size)
		for _, c := range msg {
			require.Equal(t, msg[0], c, "torn")
		}
	}
	wg.Wait()
	assert.Zero(t, q.Len())
}
