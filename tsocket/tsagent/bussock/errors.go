package bussock

import (
	"errors"
	"syscall"

	"github.com/cnbus/cnbus/connector"
)

// Error is why there is no socket, or no longer one: an errno, as every error of a socket has
// one, and a text for people. Err, if it is not nil, is what the bus said.
type Error struct {
	Errno syscall.Errno
	Text  string
	Err   error
}

func (e *Error) Error() string {
	switch {
	case e.Text == "" && e.Err != nil:
		return e.Errno.Error() + ": " + e.Err.Error()
	case e.Text == "":
		return e.Errno.Error()
	case e.Err != nil:
		return e.Text + ": " + e.Err.Error()
	}
	return e.Text
}

// Is reports whether target is the errno, or what the errno is a case of.
func (e *Error) Is(target error) bool { return target == e.Errno || e.Errno.Is(target) }

// As stores the errno where target is a *syscall.Errno.
func (e *Error) As(target any) bool {
	if p, ok := target.(*syscall.Errno); ok {
		*p = e.Errno
		return true
	}
	return false
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// Timeout is there for net.Error.
func (e *Error) Timeout() bool { return e.Errno == syscall.ETIMEDOUT }

// What streams say of the bus, and of their peers.
const (
	interrupted = "the connection to the bus was interrupted"
	peerIsGone  = "the peer is gone"
)

// ofBus gives an error of the bus the errno that a socket has in its place.
func ofBus(err error, text string) *Error {
	e := &Error{Text: text, Err: err}
	switch {
	case errors.Is(err, connector.ErrNoID), errors.Is(err, connector.ErrNoPort), errors.Is(err, connector.ErrNoListener):
		e.Errno = syscall.ECONNREFUSED
	case errors.Is(err, connector.ErrAgentGone), errors.Is(err, connector.ErrInterrupted), errors.Is(err, connector.ErrClosed):
		e.Errno = syscall.ECONNRESET
	case errors.Is(err, connector.ErrPermission):
		e.Errno = syscall.EACCES
	case errors.Is(err, connector.ErrDuplicate):
		e.Errno = syscall.EADDRINUSE
	case !errors.As(err, &e.Errno):
		e.Errno = syscall.EIO
	}
	return e
}

// ofPeer is the error of a stream whose messages do not reach the peer any more.
func ofPeer(why error) *Error {
	e := ofBus(why, peerIsGone)
	switch {
	case errors.Is(why, connector.ErrInterrupted), errors.Is(why, connector.ErrClosed):
		e.Text = interrupted
	case errors.Is(why, connector.ErrPermission):
		e.Text = "the bus does not let this process send to the peer"
	case errors.Is(why, connector.ErrNoPort):
		e.Errno, e.Err = syscall.ECONNRESET, nil
	}
	return e
}
