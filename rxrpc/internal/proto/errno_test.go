package proto

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

var errnoNames = map[syscall.Errno]string{
	syscall.ENETRESET: "ENETRESET", syscall.ETIME: "ETIME", syscall.ECONNRESET: "ECONNRESET", syscall.ECONNABORTED: "ECONNABORTED",
	syscall.EPROTO: "EPROTO", syscall.ECONNREFUSED: "ECONNREFUSED", syscall.EHOSTUNREACH: "EHOSTUNREACH", syscall.ESHUTDOWN: "ESHUTDOWN",
	syscall.EACCES: "EACCES", syscall.ENETUNREACH: "ENETUNREACH",
}

func errnoName(n syscall.Errno) string {
	if s := errnoNames[n]; s != "" {
		return s
	}
	return fmt.Sprint(int(n))
}

func TestErrorsHaveTheirErrno(t *testing.T) {
	for err, want := range map[error]syscall.Errno{
		ErrEnded: syscall.ESHUTDOWN, ErrPhase: syscall.EPROTO, ErrNotNow: syscall.EBUSY, ErrTooMuch: syscall.EMSGSIZE,
		ErrAnnounced: syscall.EINVAL, ErrCalls: syscall.EAGAIN, ErrAddress: syscall.EDESTADDRREQ, ErrInUse: syscall.EADDRINUSE,
		ErrCharges: syscall.ENOBUFS, ErrNotListen: syscall.EINVAL, ErrNotWaiting: syscall.ENODATA, ErrFull: syscall.EAGAIN,
	} {
		assert.ErrorIs(t, err, want)
		assert.Equal(t, want, errnoOf(fmt.Errorf("wrapped: %w", err), 1))
	}
	assert.Equal(t, syscall.Errno(7), errnoOf(errors.New("no errno"), 7))
}
