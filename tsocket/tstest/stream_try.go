package tstest

import (
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// What does not wait: it moves what can be moved now, and says when that is
// nothing.
func streamTry(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	in := make([]byte, 64<<10)
	_, can := a.Ops().(tsocket.TryStreamOps)
	if !can {
		_, err := b.TryRead(in)
		isErrno(t, syscall.EOPNOTSUPP, err)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = a.TryWrite([]byte("x"))
		isErrno(t, syscall.EOPNOTSUPP, err)
		return
	}
	_, err := b.TryRead(in)
	isErrno(t, syscall.EAGAIN, err)
	_, err = b.TryRead(nil)
	isErrno(t, syscall.EINVAL, err)
	_, err = a.TryWrite(nil, []byte{})
	isErrno(t, syscall.EINVAL, err)

	r := b.ReadvSend(background, make([]byte, 5))
	_, err = b.TryRead(in)
	isErrno(t, syscall.EBUSY, err)
	n64, err := a.TryWrite([]byte("he"), nil, []byte("llo"))
	require.NoError(t, err)
	require.EqualValues(t, 5, n64)
	_, err = r.Wait(soon(t))
	require.NoError(t, err)

	// Until there is no room, and again when there is some.
	var out, back int64
	piece := make([]byte, 64<<10)
	for {
		n, err := a.TryWrite(piece)
		if err != nil {
			isErrno(t, syscall.EAGAIN, err)
			break
		}
		require.Positive(t, n)
		out += n
	}
	await(t, "all that was written", func() bool {
		n, err := b.TryRead(in)
		if err != nil {
			isErrno(t, syscall.EAGAIN, err)
		}
		back += int64(n)
		return back == out
	})
	await(t, "room", func() bool {
		n, err := a.TryWrite([]byte("x"))
		return err == nil && n == 1
	})
	await(t, "the last byte", func() bool {
		n, err := b.TryRead(in)
		return err == nil && n == 1
	})

	require.NoError(t, a.Close())
	await(t, "the end", func() bool {
		_, err = b.TryRead(in)
		return !errors.Is(err, tsocket.ErrAgain)
	})
	isErrno(t, syscall.EPIPE, err)
	_, err = b.TryWrite([]byte("x"))
	isErrno(t, syscall.EPIPE, err)
	require.NoError(t, b.Disconnect(soon(t)))
	_, err = b.TryRead(in)
	isErrno(t, syscall.ENOTCONN, err)
	_, err = a.TryWrite([]byte("x"))
	isErrno(t, syscall.ENOTCONN, err)
	require.ErrorIs(t, err, tsocket.ErrClosed)
}
