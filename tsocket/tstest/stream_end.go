package tstest

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

// The end is io.EOF and EPIPE between two reads, and stays so, for writes too.
func streamEnd(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	w := b.WritevSend(background, []byte("bye"))
	_, err := a.Readv(soon(t), make([]byte, 3))
	require.NoError(t, err)
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	bye := b.DisconnectSend(background)
	for range 3 {
		n, err := a.Readv(soon(t), make([]byte, 1))
		isErrno(t, syscall.EPIPE, err)
		require.ErrorIs(t, err, io.EOF)
		require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
		require.Zero(t, n)
	}
	_, err = a.ReadSome(background, make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = a.ReadvSend(background, make([]byte, 1)).Wait(soon(t))
	require.ErrorIs(t, err, io.EOF)
	_, err = a.Writev(background, []byte("x"))
	isErrno(t, syscall.EPIPE, err)
	require.NotErrorIs(t, err, io.EOF, "that is a word for reads")
	_, err = bye.Wait(soon(t))
	require.NoError(t, err)
	require.NoError(t, a.Disconnect(soon(t)))
}

// Inside a read the end is io.ErrUnexpectedEOF, and what came before it is
// told; also when the read was waiting.
func streamEndInside(t *testing.T, k Streams) {
	for got := 1; got < 8; got++ {
		a, b := k.Pair(t)
		buf := make([]byte, 8)
		r := a.ReadvSend(background, buf[:3], buf[3:])
		_, err := b.Writev(soon(t), pattern(8)[:got])
		require.NoError(t, err)
		require.NoError(t, b.Disconnect(soon(t)))
		n, err := r.Wait(soon(t))
		isErrno(t, syscall.EPIPE, err)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NotErrorIs(t, err, io.EOF)
		require.EqualValues(t, got, n)
		require.Equal(t, pattern(8)[:got], buf[:got])
		_, err = a.Readv(background, buf)
		isErrno(t, syscall.EPIPE, err, "sticky")
	}
}

// Writing to a peer that is gone fails, sooner or later, and for good; a write
// that waits for it fails too.
func streamPeerGone(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	require.NoError(t, b.Close())
	var err error
	for err == nil {
		_, err = a.Writev(soon(t), []byte("x"))
	}
	oneOf(t, err, syscall.EPIPE, syscall.ECONNRESET)
	for range 2 {
		_, again := a.Writev(background, []byte("x"))
		isErrno(t, tsocket.Errno(err), again)
		_, again = a.Readv(background, make([]byte, 1))
		isErrno(t, tsocket.Errno(err), again, "reads too")
	}

	a, b = k.Pair(t)
	w := k.stuff(t, a)
	require.NoError(t, b.Close())
	_, err = w.Wait(soon(t))
	oneOf(t, err, syscall.EPIPE, syscall.ECONNRESET)
}

// With SetHalfOpen the end of one direction is not that of the other.
func streamHalfOpen(t *testing.T, k Streams) {
	if k.NoCloseWrite {
		return
	}
	a, b := k.Pair(t)
	require.False(t, a.SetHalfOpen(true), "it is off at first")
	require.True(t, a.SetHalfOpen(true))
	bye := begin(func() error { return b.CloseWrite(soon(t)) })
	_, err := a.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-bye)
	k.move(t, a, b, pattern(100_000))
	_, err = a.Readv(background, make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	bye = begin(func() error { return a.CloseWrite(soon(t)) })
	_, err = b.Readv(soon(t), make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-bye)
}

// CloseWrite ends one direction, after everything that was written.
func streamCloseWrite(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	if k.NoCloseWrite {
		isErrno(t, syscall.EOPNOTSUPP, a.CloseWrite(background))
		k.move(t, a, b, []byte("it changes nothing"))
		return
	}
	w := a.WritevSend(background, []byte("last"))
	got := make([]byte, 4)
	_, err := b.Readv(soon(t), got)
	require.NoError(t, err)
	assert.Equal(t, "last", string(got))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	bye := begin(func() error { return a.CloseWrite(soon(t)) })
	_, err = b.ReadSome(soon(t), got)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-bye)
	_, err = a.Writev(background, []byte("x"))
	isErrno(t, syscall.EPIPE, err)

	a, b = k.Pair(t)
	closing := a.CloseWriteSend(background)
	r := a.ReadvSend(background, make([]byte, 3))
	w = b.WritevSend(background, []byte("abc"))
	_, err = r.Wait(soon(t))
	require.NoError(t, err, "reading goes on")
	_, err = w.Wait(soon(t))
	require.NoError(t, err)
	_, err = b.Readv(soon(t), got)
	require.ErrorIs(t, err, io.EOF)
	_, err = closing.Wait(soon(t))
	require.NoError(t, err)

	a, _ = k.Pair(t)
	blocked := k.stuff(t, a)
	isErrno(t, syscall.EBUSY, a.CloseWrite(background))
	blocked.Cancel()
	_, _ = blocked.Wait(soon(t))
}
