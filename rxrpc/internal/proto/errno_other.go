//go:build !linux

package proto

import "syscall"

// Only Linux has errnos of keys: elsewhere they are refusals.
const (
	errKeyRejected = syscall.EACCES
	errKeyExpired  = syscall.EACCES
)
