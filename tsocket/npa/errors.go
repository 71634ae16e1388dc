package npa

import "syscall"

// Error is an error of a named pipe, with the errno that C gives.
type Error struct {
	Errno syscall.Errno
	Err   error
}

func (e *Error) Error() string { return "named pipe: " + e.Err.Error() }

// Unwrap returns both.
func (e *Error) Unwrap() []error { return []error{e.Errno, e.Err} }

type text string

func (t text) Error() string { return string(t) }

var (
	errShort     = &Error{syscall.EMSGSIZE, text("the length of a PDU does not fit what it holds")}
	errTooLong   = &Error{syscall.EMSGSIZE, text("a PDU of more than 16 MiB")}
	errMalformed = &Error{syscall.EIO, text("a malformed PDU")}
	errLevel     = &Error{syscall.EIO, text("another level than 8")}
	errNoMagic   = &Error{syscall.EPROTONOSUPPORT, text("the client does not speak named pipe auth")}
	errText      = &Error{syscall.EINVAL, text("a string that is not UTF-8 or holds a NUL")}
	errName      = &Error{syscall.EINVAL, text("impossible name of a pipe")}
	errFileType  = &Error{syscall.EINVAL, text("unknown file type")}
	errEmpty     = &Error{syscall.EIO, text("an empty message")}
)
