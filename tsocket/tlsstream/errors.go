package tlsstream

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/cnbus/cnbus/tsocket"
)

// Error is an error of TLS, with the errno that C gives: EINVAL for a
// certificate that is refused and for an impossible Config, EIO for what crypto/tls complains about and
// alerts of the peer, EPIPE for an end without close_notify. Both are found by errors.Is and errors.As.
type Error struct {
	Errno syscall.Errno
	Err   error
}

func (e *Error) Error() string { return "tls: " + e.Err.Error() }

// Unwrap returns both.
func (e *Error) Unwrap() []error { return []error{e.Errno, e.Err} }

// errTruncated is the end without close_notify.
var errTruncated = &Error{syscall.EPIPE, truncated{}}

type truncated struct{}

func (truncated) Error() string { return "the stream ended without close_notify" }

func (truncated) Unwrap() error { return io.ErrUnexpectedEOF }

// classify gives an error of crypto/tls its errno. What the plain stream said is
// passed on as it was.
func classify(err error) error {
	var own *Error
	var plain *plainError
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.As(err, &plain):
		return plain.err
	case errors.As(err, &own):
		return own
	}
	return &Error{syscall.EIO, err}
}

// plainError is an error of the plain stream on its way through crypto/tls,
// which remembers it for ever unless it is a temporary one.
type plainError struct {
	err  error
	temp bool
}

func (e *plainError) Error() string   { return e.err.Error() }
func (e *plainError) Unwrap() error   { return e.err }
func (e *plainError) Timeout() bool   { return e.temp }
func (e *plainError) Temporary() bool { return e.temp }

var _ net.Error = (*plainError)(nil)

// endOf is what an end of the plain stream means.
func endOf(err error) error {
	if errors.Is(err, tsocket.ErrEOF) || errors.Is(err, tsocket.ErrUnexpectedEOF) {
		return errTruncated
	}
	return err
}
