//go:build !linux

package errno

import "syscall"

// As on Linux (include/uapi/asm-generic/errno.h).
const (
	NoKey       = syscall.Errno(126)
	KeyExpired  = syscall.Errno(127)
	KeyRevoked  = syscall.Errno(128)
	KeyRejected = syscall.Errno(129)
	BadSlot     = syscall.Errno(57)
)
