package tsocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Error is an outcome that has a name of its own. It carries the errno that
// the C library gives in the same case and, where Go has a name for it, that
// one too: errors.Is works with either.
type Error struct {
	errno syscall.Errno
	also  error
	text  string
}

func (e *Error) Error() string { return e.text }

// Errno returns the errno that the C library gives.
func (e *Error) Errno() syscall.Errno { return e.errno }

// Is reports whether target is the errno of e or Go's name of it.
func (e *Error) Is(target error) bool {
	return target == e.errno || e.also != nil && errors.Is(e.also, target) || e.errno.Is(target)
}

// As stores the errno where target is a *syscall.Errno.
func (e *Error) As(target any) bool {
	if p, ok := target.(*syscall.Errno); ok {
		*p = e.errno
		return true
	}
	return false
}

// Timeout reports whether e is about a time that has passed (net.Error).
func (e *Error) Timeout() bool { return e.errno == syscall.ETIMEDOUT }

// Temporary is there for net.Error.
func (e *Error) Temporary() bool { return e.errno == syscall.EBUSY }

// The outcomes that have a name.
var (
	// ErrBusy: an operation of that direction is outstanding already.
	ErrBusy = &Error{syscall.EBUSY, nil, "an operation is outstanding already"}
	// ErrAlready: the socket is being disconnected, or monitored, already.
	ErrAlready = &Error{syscall.EALREADY, nil, "already in progress"}
	// ErrInvalid: nothing to read or to write was given, or an impossible combination.
	ErrInvalid = &Error{syscall.EINVAL, nil, "invalid argument"}
	// ErrTooLong: more vectors or bytes than the limit.
	ErrTooLong = &Error{syscall.EMSGSIZE, nil, "message too long"}
	// ErrNoRoom: the datagram does not fit into the buffer; it is kept for the next call.
	ErrNoRoom = &Error{syscall.EMSGSIZE, io.ErrShortBuffer, "buffer too small for the datagram, which is kept"}
	// ErrFrame: a PDU's length is impossible or beyond the limit.
	ErrFrame = &Error{syscall.EMSGSIZE, nil, "impossible length of a PDU"}
	// ErrNotConnected: the socket has been disconnected.
	ErrNotConnected = &Error{syscall.ENOTCONN, net.ErrClosed, "not connected"}
	// ErrClosed: Close was called before the operation or during it.
	ErrClosed = &Error{syscall.ENOTCONN, net.ErrClosed, "closed"}
	// ErrDisconnecting: the socket is being disconnected.
	ErrDisconnecting = &Error{syscall.ECONNABORTED, nil, "being disconnected"}
	// ErrPoisoned: an operation of that direction was cancelled half done, so
	// that nobody knows where the next message begins.
	ErrPoisoned = &Error{syscall.ECONNABORTED, nil, "an earlier operation was cancelled half done"}
	// ErrWriteClosed: CloseWrite was called before.
	ErrWriteClosed = &Error{syscall.EPIPE, nil, "the writing side was closed"}
	// ErrEOF: the stream ended where the read began.
	ErrEOF = &Error{syscall.EPIPE, io.EOF, "end of stream"}
	// ErrUnexpectedEOF: the stream ended inside the read.
	ErrUnexpectedEOF = &Error{syscall.EPIPE, io.ErrUnexpectedEOF, "end of stream inside a read"}
	// ErrTimeout: the deadline of the request or of the context has passed.
	ErrTimeout = &Error{syscall.ETIMEDOUT, errors.Join(os.ErrDeadlineExceeded, context.DeadlineExceeded), "timed out"}
	// ErrCanceled: the request or its context was cancelled.
	ErrCanceled = &Error{syscall.ECANCELED, context.Canceled, "cancelled"}
	// ErrInProgress: the request has no result yet. (C: EIO.)
	ErrInProgress = &Error{syscall.EINPROGRESS, nil, "still in progress"}
	// ErrNotSupported: this kind of socket cannot do it.
	ErrNotSupported = &Error{syscall.EOPNOTSUPP, errors.ErrUnsupported, "not supported by this kind of socket"}
)

// ErrAgain is what the Try methods of StreamOps and DgramOps return when they
// would have to wait.
var ErrAgain error = syscall.EAGAIN

// OpError says what failed. Err is an *Error, a syscall.Errno, or what an
// implementation of StreamOps or DgramOps returned.
type OpError struct {
	Op   string // "readv", "sendto", "connect", ...
	Addr Addr   // whom it concerned; the zero Addr where nobody in particular

	// N is how many bytes of the operation were moved before it failed. When
	// Poisoned is set, the direction is unusable because of them.
	N        int64
	Poisoned bool

	Err error
}

func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("tsocket ")
	b.WriteString(e.Op)
	if e.Addr != (Addr{}) {
		b.WriteByte(' ')
		b.WriteString(e.Addr.String())
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.N > 0 {
		b.WriteString(" after ")
		b.WriteString(strconv.FormatInt(e.N, 10))
		b.WriteString(" bytes")
	}
	if e.Poisoned {
		b.WriteString(", the direction is unusable from here")
	}
	return b.String()
}

// Unwrap returns e.Err.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether a time that has passed is the cause (net.Error).
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is there for net.Error.
func (e *OpError) Temporary() bool { return errors.Is(e.Err, syscall.EBUSY) }

var _ net.Error = (*OpError)(nil)

// Errno returns the errno of err as the C functions store it in *perrno: 0 for
// nil, EIO for an error that has none.
func Errno(err error) syscall.Errno {
	var n syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &n):
		return n
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		return syscall.ECANCELED
	case errors.Is(err, net.ErrClosed):
		return syscall.ENOTCONN
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return syscall.EPIPE
	}
	return syscall.EIO
}

// ctxError turns the end of ctx into ErrCanceled or ErrTimeout, with the cause
// where it has one of its own.
func ctxError(ctx context.Context) error {
	why := ErrCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = ErrTimeout
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		return &Error{why.errno, errors.Join(why.also, cause), why.text + ": " + cause.Error()}
	}
	return why
}
