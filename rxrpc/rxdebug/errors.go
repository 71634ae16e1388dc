package rxdebug

import (
	"fmt"
	"net/netip"
	"syscall"
)

// named is an outcome with a name and the errno that is nearest.
type named struct {
	errno syscall.Errno
	text  string
}

func (e *named) Error() string { return e.text }

func (e *named) Unwrap() error { return e.errno }

// Outcomes that callers tell from others.
var (
	// ErrNoAnswer: all requests went unanswered. It is an ETIMEDOUT.
	ErrNoAnswer error = &named{syscall.ETIMEDOUT, "no answer"}
	// ErrNotSupported: the endpoint does not know the request. It is an EOPNOTSUPP.
	ErrNotSupported error = &named{syscall.EOPNOTSUPP, "the endpoint does not know this request"}
	// ErrBadAnswer: the answer is none to this request. It is an EBADMSG.
	ErrBadAnswer error = &named{syscall.EBADMSG, "an answer that cannot be understood"}
)

// OpError says what was asked of whom, and what happened.
type OpError struct {
	Op   string // "version", "stats", "rx statistics", "connection 7", "peer 0"
	Addr netip.AddrPort
	Err  error // one of this package, of the context, or of the socket (a syscall.Errno inside)
}

func (e *OpError) Error() string { return fmt.Sprintf("rxdebug %v: %s: %v", e.Addr, e.Op, e.Err) }

// Unwrap returns e.Err.
func (e *OpError) Unwrap() error { return e.Err }
