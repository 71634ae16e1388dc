//go:build !linux

package abortcode

import "syscall"

// uae are the errnos of uaeNames; outside Linux many of them do not exist, and
// what exists has the names alone.
var uae [len(uaeNames)]syscall.Errno
