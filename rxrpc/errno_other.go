//go:build !linux

package rxrpc

import "syscall"

// What comes next to errnos that only Linux has.
const (
	errBadSlot  = syscall.EINVAL
	errNoKey    = syscall.ENOENT
	errTooSmall = syscall.ERANGE
)
