package proto

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Completion says how a call ended.
type Completion uint8

// Completions, as Linux has them.
const (
	Running Completion = iota
	Succeeded
	RemotelyAborted // by the peer, with a code
	LocallyAborted  // by the application, a time-out or a violation of the protocol, with a code
	LocalError      // by this host: an errno
	NetworkError    // by the path: an errno
)

// String says it in words.
func (c Completion) String() string {
	switch c {
	case Running:
		return "running"
	case Succeeded:
		return "succeeded"
	case RemotelyAborted:
		return "aborted by the peer"
	case LocallyAborted:
		return "aborted"
	case LocalError:
		return "local error"
	case NetworkError:
		return "network error"
	}
	return fmt.Sprintf("completion(%d)", uint8(c))
}

// Result is how a call ended. It is a value: it outlives the call.
type Result struct {
	Completion Completion
	Code       wire.AbortCode // of RemotelyAborted and LocallyAborted
	Errno      syscall.Errno  // of all but Running and Succeeded
	Why        string         // constant; why this side ended it, or ""
	Err        error          // of a security class, or nil
}

// Failed returns whether the call ended without success.
func (r *Result) Failed() bool { return r.Completion > Succeeded }

// An AbortError is a reason that a peer is told by its code.
type AbortError struct {
	Code   wire.AbortCode
	Reason string
}

func (e *AbortError) Error() string { return fmt.Sprintf("%s (abort %v)", e.Reason, e.Code) }

// codeOf returns the code that a peer is told for err.
func codeOf(err error, otherwise wire.AbortCode) wire.AbortCode {
	if a, ok := errors.AsType[*AbortError](err); ok && a.Code != 0 {
		return a.Code
	}
	return otherwise
}

// errnoOf returns the errno in err, or another.
func errnoOf(err error, otherwise syscall.Errno) syscall.Errno {
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n
	}
	return otherwise
}

// An opError is what a method of the application's side returns: always the same
// value for the same thing, so that refusing allocates nothing.
type opError struct {
	what  string
	errno syscall.Errno
}

func (e *opError) Error() string { return "rxrpc: " + e.what + ": " + e.errno.Error() }
func (e *opError) Unwrap() error { return e.errno }

// What the application's methods refuse with; each wraps the errno that AF_RXRPC
// has for it (section 5.5 of the project's reference: Linux net/rxrpc/sendmsg.c).
var (
	ErrEnded      error = &opError{"the call has ended", syscall.ESHUTDOWN}
	ErrPhase      error = &opError{"data after the last, or while the peer's is expected", syscall.EPROTO}
	ErrNotNow     error = &opError{"the call is not ready for data", syscall.EBUSY}
	ErrTooMuch    error = &opError{"more or less data than announced", syscall.EMSGSIZE}
	ErrAnnounced  error = &opError{"the length was announced or data was sent before", syscall.EINVAL}
	ErrCalls      error = &opError{"too many calls", syscall.EAGAIN}
	ErrAddress    error = &opError{"no destination, or one that cannot be", syscall.EDESTADDRREQ}
	ErrService    error = &opError{"no such service number", syscall.EINVAL}
	ErrInUse      error = &opError{"the service is taken", syscall.EADDRINUSE}
	ErrCharges    error = &opError{"the backlog is full", syscall.ENOBUFS}
	ErrNotListen  error = &opError{"the service does not listen", syscall.EINVAL}
	ErrNotWaiting error = &opError{"the call does not wait to be accepted", syscall.ENODATA}
	ErrFull       error = &opError{"no room for more data", syscall.EAGAIN}
	ErrClosed     error = &opError{"the endpoint is closed", syscall.ESHUTDOWN}
)
