package keyring

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/errno"
)

// An Error says what could not be done, with which key. Err wraps an errno.
type Error struct {
	Op  string // "add", "search", "read the file" ...
	Key string // type and description, or the number, or the file
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("keyring: " + e.Op)
	if e.Key != "" {
		b.WriteString(" " + e.Key)
	}
	b.WriteString(": " + e.Err.Error())
	return b.String()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// An opError is a sentinel with an errno.
type opError struct {
	text  string
	errno syscall.Errno
}

func (e *opError) Error() string { return e.text }
func (e *opError) Unwrap() error { return e.errno }

// What may be wrong; each wraps the errno of Linux.
var (
	ErrNoKey     error = &opError{"no such key", errno.NoKey}
	ErrExpired   error = &opError{"the key has expired", errno.KeyExpired}
	ErrRevoked   error = &opError{"the key was revoked", errno.KeyRevoked}
	ErrRejected  error = &opError{"the payload is not acceptable", errno.KeyRejected}
	ErrDenied    error = &opError{"permission denied", syscall.EACCES}
	ErrQuota     error = &opError{"the owner has too many keys, or too large ones", syscall.EDQUOT}
	ErrType      error = &opError{"no such type of key", syscall.ENODEV}
	ErrInvalid   error = &opError{"malformed description or payload", syscall.EINVAL}
	ErrNoSupport error = &opError{"no security class for the payload", syscall.EPROTONOSUPPORT}
	ErrNoRing    error = &opError{"not a keyring", syscall.ENOTDIR}
	ErrCycle     error = &opError{"a keyring would be in itself", syscall.EDEADLK}
	ErrDepth     error = &opError{"keyrings too deep in each other", syscall.ELOOP}
	ErrFull      error = &opError{"the keyring is full", syscall.ENFILE}
	ErrNoLink    error = &opError{"the key is not in that keyring", syscall.ENOENT}
	ErrNotHere   error = &opError{"not possible with keys of this type", syscall.EOPNOTSUPP}
	ErrMode      error = &opError{"others than the owner may read or change the file", syscall.EACCES}
	ErrFormat    error = &opError{"not a file of this kind, or a damaged one", syscall.EINVAL}
)

// A QuotaError says which quota of a user is used up. It is ErrQuota.
type QuotaError struct {
	What  string // "keys" or "bytes"
	Limit int
}

func (e *QuotaError) Error() string { return fmt.Sprintf("%v (%d %s)", ErrQuota, e.Limit, e.What) }

// Unwrap returns ErrQuota.
func (e *QuotaError) Unwrap() error { return ErrQuota }

func fail(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, key, err}
}

func named(t Type, description string) string { return fmt.Sprintf("%s %q", t, description) }
