package tstest

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

const cancelSize = 6

// cancelAfter has b write the first k bytes of a pattern while a reads all of
// it, waits for as long as patience says, cancels the read, and returns its outcome.
func cancelAfter(t testing.TB, a, b *tsocket.Stream, k int, buf []byte, patience time.Duration) (int64, *tsocket.OpError) {
	r := a.ReadvSend(background, buf[:2], buf[2:])
	if k > 0 {
		// Where nothing is buffered, the write waits for the read.
		_, err := b.Writev(soon(t), pattern(cancelSize)[:k])
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	_, err := r.Wait(ctx)
	isErrno(t, syscall.ETIMEDOUT, err)
	require.True(t, r.Cancel())
	n, err := r.Wait(soon(t))
	isErrno(t, syscall.ECANCELED, err)
	var op *tsocket.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, n, op.N)
	require.LessOrEqual(t, n, int64(k))
	require.Equal(t, pattern(cancelSize)[:n], buf[:n])
	return n, op
}

// untilInside calls try with more and more patience until a cancellation has
// come where it should: inside the read.
func untilInside(t testing.TB, try func(patience time.Duration) bool) {
	for p := 50 * time.Microsecond; p < patience; p *= 2 {
		if try(p) {
			return
		}
	}
	require.FailNow(t, "what was written never reached the read")
}

// A read that is cancelled after each of its bytes says after which; nothing
// else is lost.
func streamCancelRead(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	require.Equal(t, tsocket.CancelPoisons, a.SetCancelRule(tsocket.CancelLoses))
	buf := make([]byte, cancelSize)
	for written := range cancelSize {
		untilInside(t, func(patience time.Duration) bool {
			n, op := cancelAfter(t, a, b, written, buf, patience)
			require.False(t, op.Poisoned)
			if left := pattern(cancelSize)[n:written]; len(left) > 0 {
				got := make([]byte, len(left))
				_, err := a.Readv(soon(t), got)
				require.NoError(t, err)
				require.Equal(t, left, got)
			}
			return int(n) == written
		})
	}
	k.move(t, b, a, []byte("in step"))
}

// Unless told otherwise, a read that is cancelled half done ends the reading.
func streamCancelPoisons(t *testing.T, k Streams) {
	for written := range cancelSize {
		untilInside(t, func(patience time.Duration) bool {
			a, b := k.Pair(t)
			n, op := cancelAfter(t, a, b, written, make([]byte, cancelSize), patience)
			require.Equal(t, n > 0, op.Poisoned)
			if n == 0 {
				left := make([]byte, max(written, 1))
				w := b.WritevSend(background, []byte("!"))
				_, err := a.Readv(soon(t), left)
				require.NoError(t, err, "nothing was done, nothing is lost")
				_, err = w.Wait(soon(t))
				require.NoError(t, err)
				_, _ = a.Close(), b.Close()
				return written == 0
			}
			_, err := a.Readv(background, make([]byte, 1))
			isErrno(t, syscall.ECONNABORTED, err)
			require.ErrorIs(t, err, tsocket.ErrPoisoned)
			k.move(t, a, b, []byte("the other direction is fine"))
			done := drain(b)
			require.NoError(t, a.Disconnect(soon(t)))
			<-done
			require.NoError(t, b.Close())
			return true
		})
	}
}

// With CancelRestores a cancelled read never was.
func streamCancelRestores(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	a.SetCancelRule(tsocket.CancelRestores)
	for written := range cancelSize {
		for i := range 4 {
			buf := make([]byte, cancelSize)
			n, op := cancelAfter(t, a, b, written, buf, time.Duration(i)*time.Millisecond)
			require.Zero(t, n)
			require.False(t, op.Poisoned)
			w := b.WritevSend(background, pattern(cancelSize)[written:])
			_, err := a.Readv(soon(t), buf)
			require.NoError(t, err)
			require.Equal(t, pattern(cancelSize), buf)
			_, err = w.Wait(soon(t))
			require.NoError(t, err)
		}
	}
}

// A write that is cancelled says how much went; that much arrives.
func streamCancelWrite(t *testing.T, k Streams) {
	for _, rule := range []tsocket.CancelRule{tsocket.CancelPoisons, tsocket.CancelLoses} {
		a, b := k.Pair(t)
		a.SetCancelRule(rule)
		w := k.stuff(t, a)
		require.True(t, w.Cancel())
		n, err := w.Wait(soon(t))
		isErrno(t, syscall.ECANCELED, err)
		var op *tsocket.OpError
		require.ErrorAs(t, err, &op)
		require.Equal(t, n, op.N)
		require.Equal(t, n > 0 && rule == tsocket.CancelPoisons, op.Poisoned)

		done := drain(b)
		_, err = a.Writev(soon(t), []byte("x"))
		if op.Poisoned {
			isErrno(t, syscall.ECONNABORTED, err)
			require.True(t, errors.Is(err, tsocket.ErrPoisoned))
		} else {
			require.NoError(t, err)
		}
		require.NoError(t, a.Disconnect(soon(t)))
		<-done
	}
}
