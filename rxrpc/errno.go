package rxrpc

import (
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// Errnos that Linux has and others have not.
const (
	errBadSlot  = errno.BadSlot
	errNoKey    = errno.NoKey
	errTooSmall = syscall.Errno(525) // ETOOSMALL: not for programs, but they get it
)
