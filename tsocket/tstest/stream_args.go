package tstest

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/tsocket"
)

const connReset = syscall.ECONNRESET

// transfers are the ways to read or write.
var transfers = []struct {
	name string
	do   func(s *tsocket.Stream, bufs ...[]byte) error
}{
	{"readv", func(s *tsocket.Stream, bufs ...[]byte) error { return last(s.Readv(background, bufs...)) }},
	{"readv send", func(s *tsocket.Stream, bufs ...[]byte) error {
		return last(s.ReadvSend(background, bufs...).Wait(background))
	}},
	{"writev", func(s *tsocket.Stream, bufs ...[]byte) error { return last(s.Writev(background, bufs...)) }},
	{"writev send", func(s *tsocket.Stream, bufs ...[]byte) error {
		return last(s.WritevSend(background, bufs...).Wait(background))
	}},
}

func last[T any](_ T, err error) error { return err }

// streamChecks: EMSGSIZE, EINVAL, EBUSY, ENOTCONN, the error of the stream, in this order.
// (A Disconnect that is outstanding cannot be held up from outside; the tests of
// package tsocket do that.)
func streamChecks(t *testing.T, k Streams) {
	many := make([][]byte, 1025)
	one := make([]byte, 1)
	for _, op := range transfers {
		a, b := k.Pair(t)
		isErrno(t, syscall.EMSGSIZE, op.do(a, many...), op.name)
		isErrno(t, syscall.EINVAL, op.do(a), op.name)
		isErrno(t, syscall.EINVAL, op.do(a, nil, []byte{}, nil), op.name)

		read, wrote := a.ReadvSend(background, one), k.stuff(t, a)
		isErrno(t, syscall.EMSGSIZE, op.do(a, many...), op.name, "before EBUSY")
		isErrno(t, syscall.EINVAL, op.do(a), op.name, "before EBUSY")
		isErrno(t, syscall.EBUSY, op.do(a, one), op.name)
		read.Cancel()
		wrote.Cancel()
		_, _ = read.Wait(background)
		_, _ = wrote.Wait(background)

		require.NoError(t, b.Close())
		_, err := a.Readv(soon(t), one)
		require.Error(t, err)
		isErrno(t, syscall.EINVAL, op.do(a), op.name, "before the error of the stream")
		require.Error(t, op.do(a, one))
		require.NoError(t, a.Disconnect(soon(t)), "works after an error")
		isErrno(t, syscall.EMSGSIZE, op.do(a, many...), op.name, "before ENOTCONN")
		isErrno(t, syscall.EINVAL, op.do(a), op.name, "before ENOTCONN")
		isErrno(t, syscall.ENOTCONN, op.do(a, one), op.name)
		isErrno(t, syscall.ENOTCONN, last(a.PendingBytes()))
		require.NoError(t, a.Close())
		isErrno(t, syscall.ENOTCONN, op.do(a, one), op.name)
	}
}

// The loser of a race for a direction disturbs nothing.
func streamBusy(t *testing.T, k Streams) {
	a, b := k.Pair(t)
	buf := make([]byte, 3)
	r := a.ReadvSend(background, buf)
	for range 3 {
		isErrno(t, syscall.EBUSY, last(a.Readv(background, make([]byte, 1))))
		isErrno(t, syscall.EBUSY, last(a.ReadSome(background, make([]byte, 1))))
		lost := a.ReadvSend(background, make([]byte, 1))
		require.False(t, lost.InProgress(), "a refusal is known at once")
		require.False(t, lost.Cancel())
		isErrno(t, syscall.EBUSY, last(lost.Result()))
		isErrno(t, syscall.EBUSY, a.Disconnect(background))
		isErrno(t, syscall.EBUSY, last(a.DisconnectSend(background).Result()))
	}
	k.move(t, a, b, []byte("the other direction is free"))
	w := b.WritevSend(background, []byte("abc"))
	_, err := r.Wait(soon(t))
	require.NoError(t, err)
	require.Equal(t, "abc", string(buf))
	_, err = w.Wait(soon(t))
	require.NoError(t, err)

	blocked := k.stuff(t, a)
	isErrno(t, syscall.EBUSY, last(a.Writev(background, buf)))
	isErrno(t, syscall.EBUSY, last(a.WritevSend(background, buf).Result()))
	isErrno(t, syscall.EBUSY, a.Disconnect(background))
	k.move(t, b, a, []byte("the other direction is free"))
	blocked.Cancel()
	_, _ = blocked.Wait(soon(t))
}

func streamTooLong(t *testing.T, k Streams) {
	if k.MaxWrite == 0 {
		return
	}
	a, b := k.Pair(t)
	k.move(t, a, b, pattern(k.MaxWrite))
	long := [][]byte{make([]byte, k.MaxWrite), make([]byte, 1)}
	isErrno(t, syscall.EMSGSIZE, last(a.Writev(soon(t), long...)))
	isErrno(t, syscall.EMSGSIZE, last(a.WritevSend(soon(t), long...).Result()))
	k.move(t, a, b, []byte("nothing was written"))
	require.NoError(t, a.Close())
	isErrno(t, syscall.EMSGSIZE, last(a.Writev(soon(t), long...)), "before ENOTCONN")
}
