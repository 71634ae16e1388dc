package tsocket_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// The rules that every pair of _send and _recv has in common.
func TestProbesRequest(t *testing.T) {
	t.Run("bad argument: finished at once, callback later", func(t *testing.T) {
		a, _ := unixPair(t)
		r := a.ReadvSend(background)
		assert.False(t, r.InProgress())
		var mu sync.Mutex
		mu.Lock()
		called := make(chan struct{})
		r.OnDone(func(r *tsocket.Request[int64]) {
			mu.Lock() // would deadlock inside OnDone
			_, err := r.Result()
			isErrno(t, syscall.EINVAL, err)
			mu.Unlock()
			close(called)
		})
		mu.Unlock()
		<-called
	})
	t.Run("result before the end; as often as wanted after it", func(t *testing.T) {
		a, b := unixPair(t)
		r := a.ReadvSend(background, make([]byte, 1))
		for range 3 {
			_, err := r.Result()
			isErrno(t, syscall.EINPROGRESS, err) // C: EIO, and the request is gone
		}
		_, err := b.Writev(background, []byte("x"))
		require.NoError(t, err)
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
		for range 3 {
			n, err := r.Result()
			assert.NoError(t, err)
			assert.EqualValues(t, 1, n)
		}
	})
	t.Run("write that went out is finished at once", func(t *testing.T) {
		a, _ := unixPair(t)
		assert.False(t, a.WritevSend(background, []byte("x")).InProgress()) // C: a loop turn later
		assert.False(t, a.WritevSend(background, []byte("x")).InProgress()) // C: EBUSY
	})
	t.Run("the slot is free before the callback", func(t *testing.T) {
		a, b := unixPair(t)
		buf := make([]byte, 1)
		got := make(chan byte, 3)
		var again func(r *tsocket.Request[int64])
		again = func(r *tsocket.Request[int64]) {
			if _, err := r.Result(); assert.NoError(t, err) {
				if got <- buf[0]; buf[0] != 'c' {
					a.ReadvSend(background, buf).OnDone(again)
				}
			}
		}
		a.ReadvSend(background, buf).OnDone(again)
		_, err := b.Writev(background, []byte("abc"))
		require.NoError(t, err)
		for _, want := range []byte("abc") {
			assert.Equal(t, want, <-got)
		}
	})
	t.Run("the loser of EBUSY does not free the slot", func(t *testing.T) {
		a, b := unixPair(t)
		r := a.ReadvSend(background, make([]byte, 1))
		for range 3 {
			_, err := a.ReadvSend(background, make([]byte, 1)).Result()
			isErrno(t, syscall.EBUSY, err)
		}
		_, err := b.Writev(background, []byte("x"))
		require.NoError(t, err)
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
	})
	t.Run("deadline: ETIMEDOUT, and the slot is free at once", func(t *testing.T) {
		a, _ := unixPair(t)
		for range 2 {
			r := a.ReadvSend(background, make([]byte, 1))
			r.SetDeadline(time.Now().Add(5 * time.Millisecond))
			_, err := r.Wait(soon(t))
			isErrno(t, syscall.ETIMEDOUT, err)
			assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var ne net.Error
			require.ErrorAs(t, err, &ne)
			assert.True(t, ne.Timeout())
		}
	})
	t.Run("deadline of what is made of several reads, or queued: nothing goes on inside", func(t *testing.T) {
		for name, read := range map[string]func(s *tsocket.Stream) interface{ SetDeadline(time.Time) }{
			"pdu": func(s *tsocket.Stream) interface{ SetDeadline(time.Time) } {
				v := &u32Vector{}
				return s.ReadPDUSend(background, v.next)
			},
			"blob": func(s *tsocket.Stream) interface{ SetDeadline(time.Time) } {
				return tsocket.ReadU32PDUSend(background, s, 100)
			},
			"queue": func(s *tsocket.Stream) interface{ SetDeadline(time.Time) } {
				v := &u32Vector{}
				return tsocket.NewQueue("q").ReadPDUSend(background, s, v.next)
			},
		} {
			a, b := unixPair(t)
			r := read(a)
			write(t, b, "\x00\x00\x00\x05he")
			r.SetDeadline(time.Now().Add(time.Millisecond))
			done := r.(interface{ Done() <-chan struct{} }).Done()
			<-done
			require.NoError(t, a.Disconnect(background), name)
		}
	})
	t.Run("a deadline that was taken away does not count", func(t *testing.T) {
		a, b := unixPair(t)
		r := a.ReadvSend(background, make([]byte, 1))
		r.SetDeadline(time.Now().Add(time.Hour))
		r.SetDeadline(time.Time{})
		_, err := b.Writev(background, []byte("x"))
		require.NoError(t, err)
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
		r.SetDeadline(time.Now())
		_, err = r.Result()
		require.NoError(t, err)
	})
	t.Run("cancel frees the slot, and loses nothing that was not read", func(t *testing.T) {
		a, b := unixPair(t)
		r := a.ReadvSend(background, make([]byte, 4))
		called := make(chan error, 1)
		r.OnDone(func(r *tsocket.Request[int64]) {
			_, err := r.Result()
			called <- err
		})
		require.True(t, r.Cancel())
		isErrno(t, syscall.ECANCELED, <-called)
		_, err := b.Writev(background, []byte("data"))
		require.NoError(t, err)
		buf := make([]byte, 4)
		_, err = a.Readv(soon(t), buf)
		require.NoError(t, err)
		assert.Equal(t, "data", string(buf))
	})
	t.Run("waiting may end before the request does", func(t *testing.T) {
		a, b := unixPair(t)
		r := a.ReadvSend(background, make([]byte, 1))
		for range 3 {
			_, err := r.Wait(cancelled())
			isErrno(t, syscall.ECANCELED, err)
			ctx, stop := ctxAfter(time.Millisecond)
			_, err = r.Wait(ctx)
			stop()
			isErrno(t, syscall.ETIMEDOUT, err)
			assert.True(t, r.InProgress())
		}
		_, err := b.Writev(background, []byte("x"))
		require.NoError(t, err)
		_, err = r.Wait(soon(t))
		require.NoError(t, err)
	})
	t.Run("close finishes what is outstanding, once", func(t *testing.T) {
		a, _ := unixPair(t)
		fill(t, a)
		var calls sync.WaitGroup
		calls.Add(4)
		count := func(err error) {
			assert.ErrorIs(t, err, net.ErrClosed)
			isErrno(t, syscall.ENOTCONN, err)
			calls.Done() // panics when it is one too many
		}
		r := a.ReadvSend(background, make([]byte, 1)) // nobody waits
		r2 := a.MonitorSend(background)
		r2.OnDone(func(r *tsocket.Request[struct{}]) { _, err := r.Result(); count(err) })
		a.WritevSend(background, make([]byte, 1<<20)).OnDone(func(r *tsocket.Request[int64]) { _, err := r.Result(); count(err) })
		require.NoError(t, a.Close())
		_, err := r.Wait(soon(t))
		count(err)
		r.OnDone(func(r *tsocket.Request[int64]) { _, err := r.Result(); count(err) })
		calls.Wait()
		_, err = a.Readv(background, make([]byte, 1))
		assert.ErrorIs(t, err, net.ErrClosed)
		_, err = a.Writev(background, make([]byte, 1))
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.ErrorIs(t, a.Disconnect(background), net.ErrClosed)
		assert.ErrorIs(t, a.Monitor(background), net.ErrClosed)
		_, err = a.PendingBytes()
		assert.ErrorIs(t, err, net.ErrClosed)
		require.NoError(t, a.Close())
	})
	t.Run("errors have both names", func(t *testing.T) {
		for _, c := range []struct {
			err   error
			errno syscall.Errno
			is    error
		}{
			{tsocket.ErrEOF, syscall.EPIPE, io.EOF},
			{tsocket.ErrUnexpectedEOF, syscall.EPIPE, io.ErrUnexpectedEOF},
			{tsocket.ErrNotConnected, syscall.ENOTCONN, net.ErrClosed},
			{tsocket.ErrNoRoom, syscall.EMSGSIZE, io.ErrShortBuffer},
			{&tsocket.RoomError{Need: 1}, syscall.EMSGSIZE, tsocket.ErrNoRoom},
		} {
			isErrno(t, c.errno, &tsocket.OpError{Op: "x", Err: c.err})
			assert.ErrorIs(t, c.err, c.is)
		}
		assert.Equal(t, syscall.EIO, tsocket.Errno(io.ErrNoProgress))
		isErrno(t, 0, nil)
		assert.NotErrorIs(t, tsocket.ErrEOF, syscall.ECONNRESET)
	})
}
