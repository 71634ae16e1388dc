package errno

import "syscall"

// Errnos of keys, and of a tag that no call has.
const (
	NoKey       = syscall.ENOKEY
	KeyExpired  = syscall.EKEYEXPIRED
	KeyRevoked  = syscall.EKEYREVOKED
	KeyRejected = syscall.EKEYREJECTED
	BadSlot     = syscall.EBADSLT
)
