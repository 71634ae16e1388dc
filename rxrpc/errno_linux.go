package rxrpc

import "syscall"

// Errnos that Linux has and others have not.
const (
	errBadSlot  = syscall.EBADSLT
	errNoKey    = syscall.ENOKEY
	errTooSmall = syscall.Errno(525) // ETOOSMALL: not for programs, but they get it
)
