package proto

import "syscall"

// The errnos of keys that may not be used.
const (
	errKeyRejected = syscall.EKEYREJECTED
	errKeyExpired  = syscall.EKEYEXPIRED
)
