package rxclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/errno"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

const errnoVersion = syscall.EPROTONOSUPPORT

// ErrDown: the way to the agent is gone: the broker was stopped, or the agent. Calls in progress are over, and sockets are no more; new ones
// can be made as soon as it is back. Its errno is ENOTCONN.
var ErrDown error = &downError{}

// A downError says that the agent is gone, and how that was noticed.
type downError struct{ cause error }

func (e *downError) Error() string {
	s := "the RxRPC agent is gone"
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Is makes errors.Is find ErrDown and ENOTCONN.
func (e *downError) Is(target error) bool {
	_, ok := target.(*downError)
	return ok || target == syscall.ENOTCONN
}

// As gives the errno.
func (e *downError) As(target any) bool {
	if p, ok := target.(*syscall.Errno); ok {
		*p = syscall.ENOTCONN
		return true
	}
	return false
}

// Unwrap returns what the bus has said.
func (e *downError) Unwrap() error { return e.cause }

// Errnos that calls end with.
const (
	errnoAborted  = syscall.ECONNABORTED
	errnoShutdown = syscall.ESHUTDOWN
	errnoTime     = syscall.ETIME
	errnoKey      = errno.KeyRejected
	errnoBadSlot  = errno.BadSlot
	errnoTooSmall = syscall.Errno(525) // ETOOSMALL
)

const connectorMax = connector.MaxData

// errSocketClosed is what everything on a closed socket says.
var errSocketClosed = fmt.Errorf("%w: %w", rxrpc.ErrClosed, syscall.EBADF)

// interrupted is a context's end where a system call would be interrupted: EINTR, and the context's error.
func interrupted(op string, ctx context.Context) *rxrpc.SocketError {
	return &rxrpc.SocketError{Op: op, Err: fmt.Errorf("interrupted: %w", errors.Join(syscall.EINTR, context.Cause(ctx), ctx.Err()))}
}

// failure is how a call has failed, as an error of package rxrpc.
func failure(err error) error {
	r := err.(*ending)
	return rxrpc.ResultError(proto.Result(*r))
}

// upgradeOption is the value of OptUpgradeableService.
func upgradeOption(from, to uint16) []byte {
	return binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, from), to)
}
