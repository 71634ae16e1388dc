package rxrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/abortcode"
)

// Codes of RxRPC itself; package abortcode has the names of all.
const (
	CallDead         int32 = -1   // RX_CALL_DEAD
	InvalidOperation int32 = -2   // RX_INVALID_OPERATION
	CallTimeout      int32 = -3   // RX_CALL_TIMEOUT
	UnexpectedEOF    int32 = -4   // RX_EOF
	ProtocolError    int32 = -5   // RX_PROTOCOL_ERROR
	UserAbort        int32 = -6   // RX_USER_ABORT
	Restarting       int32 = -100 // RX_RESTARTING
	BadOpcode        int32 = -455 // RXGEN_OPCODE: the service has no such operation
)

// An AbortError says that a call was aborted: by the peer, or by this side. It
// is also what a handler returns to abort its call with a code.
type AbortError struct {
	Code   int32
	Remote bool // the peer did it

	// Conn is set if the whole connection was aborted, and all of its calls with
	// it.
	Conn bool

	// Errno is what AF_RXRPC gives: ECONNABORTED, ETIME for a call that took too
	// long, ECONNRESET for a peer that is dead or knows the call no more. 0 counts as
	// ECONNABORTED.
	Errno syscall.Errno

	// Cause is why this side aborted, if somebody said so: context.Canceled, ...
	Cause error
}

// Abort returns an error that makes a handler abort its call with code.
func Abort(code int32) error { return &AbortError{Code: code} }

// Name returns the name of the code, "VL_NOENT", or its number.
func (e *AbortError) Name() string { return abortcode.String(e.Code) }

func (e *AbortError) Error() string {
	var b strings.Builder
	b.WriteString("aborted")
	if e.Remote {
		b.WriteString(" by peer")
	}
	if e.Conn {
		b.WriteString(" with its connection")
	}
	info, ok := abortcode.Lookup(e.Code)
	if ok {
		fmt.Fprintf(&b, ": %s (%d): %s", info.Name, e.Code, info.Text)
	} else {
		b.WriteString(": code " + abortcode.String(e.Code))
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap returns the errno and the cause, and for a code of AFS that stands for
// an errno (UAENOENT) that errno too.
func (e *AbortError) Unwrap() []error {
	errs := make([]error, 0, 3)
	if e.Errno != 0 {
		errs = append(errs, e.Errno)
	} else {
		errs = append(errs, syscall.ECONNABORTED)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	if i, ok := abortcode.Lookup(e.Code); ok && i.Errno != 0 {
		errs = append(errs, i.Errno)
	}
	return errs
}

// An abortCoder is an error that stands for a code: rxkad.Expired.
type abortCoder interface {
	error
	AbortCode() int32
}

// Is makes errors.Is(err, Abort(code)) true for any abort with that code, and errors.Is(err, rxkad.Expired) for one with
// the code of that.
func (e *AbortError) Is(target error) bool {
	if c, ok := target.(abortCoder); ok {
		return c.AbortCode() == e.Code
	}
	t, ok := target.(*AbortError)
	return ok && *t == AbortError{Code: e.Code}
}

// Timeout reports whether the call took too long, or its peer was silent
// (net.Error).
func (e *AbortError) Timeout() bool {
	return !e.Remote && (e.Code == CallTimeout || e.Code == CallDead && e.Errno != 0)
}

// Temporary is there for net.Error.
func (e *AbortError) Temporary() bool { return false }

// A NetError says that the network or this host would not carry a call's
// packets: an ICMP error, or an error of the socket.
type NetError struct {
	Errno syscall.Errno
	Local bool           // of this host (AF_RXRPC: LOCAL_ERROR)
	From  netip.AddrPort // who said so, if it is known; without a port
	Cause error          // what this host knows besides, or nil
}

func (e *NetError) Error() string {
	switch {
	case e.Cause != nil:
		return "local error: " + e.Cause.Error()
	case e.Local:
		return "local error: " + e.Errno.Error()
	case e.From.IsValid():
		return fmt.Sprintf("network error: %v, says %v", e.Errno, e.From.Addr())
	}
	return "network error: " + e.Errno.Error()
}

// Unwrap returns the errno, and the cause.
func (e *NetError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Errno}
	}
	return []error{e.Errno, e.Cause}
}

// A CallError says which call failed. Err is an *AbortError, a *NetError, or one
// of the sentinel errors of this package.
type CallError struct {
	Op      string // "call", "read", "write", "new call"
	Peer    netip.AddrPort
	Service uint16
	Err     error
}

func (e *CallError) Error() string {
	return "rxrpc " + e.Op + " " + e.Peer.String() + " service " + strconv.Itoa(int(e.Service)) + ": " + e.Err.Error()
}

// Unwrap returns e.Err.
func (e *CallError) Unwrap() error { return e.Err }

// Timeout reports whether a time that has passed is the cause (net.Error).
func (e *CallError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is there for net.Error.
func (e *CallError) Temporary() bool { return false }

var _ net.Error = (*CallError)(nil)

// An errorString is a sentinel with an errno and, perhaps, Go's name for it.
type errorString struct {
	text  string
	errno syscall.Errno
	also  error
}

func (e *errorString) Error() string { return e.text }

func (e *errorString) Is(target error) bool {
	return target == e.errno || e.also != nil && errors.Is(e.also, target)
}

func (e *errorString) As(target any) bool {
	if p, ok := target.(*syscall.Errno); ok {
		*p = e.errno
		return true
	}
	return false
}

// What may be wrong besides aborts and the network.
var (
	// ErrClosed: the endpoint, client or server was closed.
	ErrClosed error = &errorString{"closed", syscall.ESHUTDOWN, net.ErrClosed}
	// ErrFinished: the call is over: its end was read, or the handler has returned.
	ErrFinished error = &errorString{"the call is over", syscall.ESHUTDOWN, net.ErrClosed}
	// ErrWriteClosed: CloseWrite was called before, or the reply has begun.
	ErrWriteClosed error = &errorString{"written after the end of the data", syscall.EPROTO, nil}
	// ErrTooLarge: the reply, or the request, is larger than the limit.
	ErrTooLarge error = &errorString{"longer than the limit", syscall.EMSGSIZE, nil}
	// ErrLength: more or less was written than the length that was announced.
	ErrLength error = &errorString{"not of the length that was announced", syscall.EMSGSIZE, nil}
	// ErrServiceTaken: the endpoint serves that service already.
	ErrServiceTaken error = &errorString{"service is served already", syscall.EADDRINUSE, nil}
	// ErrLimit: as many calls or connections are in progress as the endpoint allows.
	ErrLimit error = &errorString{"too many calls or connections", syscall.ENOBUFS, nil}
)

// CodeOf returns the code that err aborts a call with: that of an AbortError in it,
// CallTimeout for a deadline that has passed, UserAbort for any other error.
func CodeOf(err error) int32 {
	var a *AbortError
	var c abortCoder
	switch {
	case errors.As(err, &a) && a.Code != 0:
		return a.Code
	case errors.As(err, &c):
		return c.AbortCode()
	case errors.Is(err, context.DeadlineExceeded):
		return CallTimeout
	}
	return UserAbort
}
