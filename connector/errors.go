package connector

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
)

// Error is a refusal that the model defines. Each one wraps the errno that the
// kernel's connector gives in the same case, where it has one, so that
// errors.Is works with either.
type Error struct {
	code uint16 // stable: it travels on the wire, docs/protocol.md
	err  error
	text string
}

func (e *Error) Error() string { return e.text }

// Unwrap returns the errno (or net.ErrClosed) behind e.
func (e *Error) Unwrap() error { return e.err }

// Code is the number of e on the wire (docs/protocol.md, "Error codes").
func (e *Error) Code() uint16 { return e.code }

// The refusals of the model.
var (
	ErrInvalid      = &Error{1, syscall.EINVAL, "invalid argument"}
	ErrDuplicate    = &Error{2, syscall.EINVAL, "id is already registered"} // cn_queue_add_callback: -EINVAL
	ErrNoID         = &Error{3, syscall.ENODEV, "no such id"}               // cn_netlink_send_mult: -ENODEV
	ErrNoListener   = &Error{4, syscall.ESRCH, "no listener in the group"}  // cn_netlink_send_mult: -ESRCH
	ErrNoPort       = &Error{5, syscall.ECONNREFUSED, "no such port"}       // netlink_unicast to a dead port id
	ErrTooBig       = &Error{6, syscall.EMSGSIZE, "message too long"}
	ErrPermission   = &Error{7, syscall.EPERM, "not permitted by policy"}
	ErrLimit        = &Error{8, syscall.EDQUOT, "limit exceeded"}
	ErrProtocol     = &Error{9, syscall.EPROTO, "protocol violation"}
	ErrNotSupported = &Error{10, errors.ErrUnsupported, "not supported by this carrier"}
	ErrWouldBlock   = &Error{11, syscall.EAGAIN, "receiver is full"}
	ErrAgentGone    = &Error{12, syscall.ECONNRESET, "the agent went away before it replied"}
	ErrInterrupted  = &Error{13, syscall.ECONNRESET, "connection to the broker was interrupted"}
	ErrClosed       = &Error{14, net.ErrClosed, "closed"}
	ErrTimeout      = &Error{15, syscall.ETIMEDOUT, "timed out"}
	ErrShutdown     = &Error{16, syscall.ESHUTDOWN, "broker is stopping"}
	ErrNotFound     = &Error{17, syscall.ENOENT, "not found"}
)

var byCode = func() map[uint16]*Error {
	m := make(map[uint16]*Error)
	for _, e := range []*Error{
		ErrInvalid, ErrDuplicate, ErrNoID, ErrNoListener, ErrNoPort, ErrTooBig, ErrPermission, ErrLimit, ErrProtocol,
		ErrNotSupported, ErrWouldBlock, ErrAgentGone, ErrInterrupted, ErrClosed, ErrTimeout, ErrShutdown, ErrNotFound,
	} {
		m[e.code] = e
	}
	return m
}()

// ErrorFromCode returns the refusal with that number, nil for 0, and an error
// that wraps EPROTO for a number it does not know.
func ErrorFromCode(code uint16) error {
	if code == 0 {
		return nil
	}
	if e, ok := byCode[code]; ok {
		return e
	}
	return fmt.Errorf("error code %d: %w", code, ErrProtocol)
}

// OpError says what failed, and for whom. Port and Group are zero where they
// play no part; Err wraps one of the refusals above or a context's error.
type OpError struct {
	Op    string // "send", "call", "join", "add callback", ...
	ID    cbid.ID
	HasID bool
	Port  uint32
	Group uint32
	Err   error

	// MayBeDelivered is true when the request had left this process before
	// the failure, so that the receiver may have acted on it.
	MayBeDelivered bool
}

func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString("connector ")
	b.WriteString(e.Op)
	if e.HasID {
		fmt.Fprintf(&b, " %v", e.ID)
	}
	if e.Port != 0 {
		fmt.Fprintf(&b, " port %d", e.Port)
	}
	if e.Group != 0 {
		fmt.Fprintf(&b, " group %d", e.Group)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.MayBeDelivered {
		b.WriteString(" (the request may have been delivered)")
	}
	return b.String()
}

// Unwrap returns e.Err.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether a deadline or a timeout is the cause.
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout() || errors.Is(e.Err, ErrTimeout)
}
