package tsocket

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRetrySet: what waits and tries again, and what is final.
func TestRetrySet(t *testing.T) {
	for errno := syscall.Errno(0); errno < 134; errno++ {
		want := isFinal
		switch errno {
		case syscall.EINTR:
			want = tryAgain
		case syscall.EAGAIN, syscall.EINPROGRESS:
			want = waitReady
		case syscall.ENOMEM:
			want = waitMemory
		}
		assert.Equal(t, want, judge(errno), errno)
	}
}

// TestNoMemory: a kernel that is short of memory for a moment fails nothing.
func TestNoMemory(t *testing.T) {
	a, b, err := SocketPair()
	require.NoError(t, err)
	defer a.Close()
	defer b.Close()
	short := func(x *fdXfer) *int {
		left, try := 2, x.op.try
		x.op.try = func(fd int) bool {
			if left > 0 {
				left--
				x.errno = syscall.ENOMEM
				return true
			}
			return try(fd)
		}
		return &left
	}
	out, in := short(a.fd.writing()), short(b.fd.reading())
	n, err := a.WritevSend(context.Background(), []byte("hello")).Wait(context.Background())
	require.NoError(t, err)
	assert.EqualValues(t, 5, n)
	buf := make([]byte, 5)
	_, err = b.ReadvSend(context.Background(), buf).Wait(context.Background())
	require.NoError(t, err)
	assert.Equal(t, "hello", string(buf))
	assert.Zero(t, *out+*in)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	*in = 1 << 30
	_, err = b.Readv(ctx, buf)
	assert.ErrorIs(t, err, ErrCanceled)

	d, e, err := UnixDgramPair()
	require.NoError(t, err)
	defer d.Close()
	defer e.Close()
	left := 3
	s := d.base()
	try := s.wr.op.try
	s.wr.op.try = func(fd int) bool {
		if left--; left >= 0 {
			s.wr.errno = syscall.ENOMEM
			return true
		}
		s.wr.errno = 0
		return try(fd)
	}
	_, err = d.SendToSend(context.Background(), []byte("x"), Addr{}).Wait(context.Background())
	require.NoError(t, err)
	assert.Negative(t, left)
}
