package rxagent

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A request is a message to the agent. In the callback d and body are the carrier's; detach makes them last.
type request struct {
	d      *connector.Delivery
	h      rxmsg.Header
	body   []byte
	within time.Duration // 0: no deadline
	p      *pending      // nil: nobody can give it up
	leave  func()        // it counts among those that wait, until this is called once or more; nil: it does not
}

// left is before the request completes: its sender may make the next one at once, and must have room for it.
func (r *request) left() {
	if r.leave != nil {
		r.leave()
	}
}

// noReply reports whether failures are told by an event.
func (r *request) noReply() bool { return !r.d.Call }

// detach returns the request with memory of its own.
func (r *request) detach() *request {
	n := *r
	n.d = r.d.Detach()
	n.body = n.d.Msg.Data[len(n.d.Msg.Data)-len(r.body):]
	return &n
}

// head is the request without its data, for who only answers it.
func (r *request) head() *request {
	n := &request{h: r.h, within: r.within, p: r.p}
	d := *r.d
	d.Msg.Data = nil
	n.d = &d
	return n
}

// An errnoError is an errno with a text that says more.
type errnoError struct {
	no   syscall.Errno
	text string
}

func (e *errnoError) Error() string { return e.text + ": " + e.no.Error() }
func (e *errnoError) Unwrap() error { return e.no }

func errno(no syscall.Errno, text string) error { return &errnoError{no, text} }

// noSocket is what is said of sockets that there are not, and of those of others.
func noSocket(n uint32) error { return errno(syscall.EBADF, fmt.Sprintf("socket %d", n)) }

// errnoOf returns the errno of an error, and its text.
func errnoOf(err error) (syscall.Errno, string) {
	var no syscall.Errno
	if !errors.As(err, &no) || no == 0 {
		no = syscall.EIO
		switch {
		case errors.Is(err, rxrpc.ErrLimit):
			no = syscall.ENOBUFS
		case errors.Is(err, rxrpc.ErrClosed):
			no = syscall.EBADF
		}
	}
	return no, err.Error()
}

// denied makes what a Policy says an error with an errno.
func denied(err error) error {
	if err == nil {
		return nil
	}
	var no syscall.Errno
	if errors.As(err, &no) {
		return err
	}
	return &errnoError{syscall.EACCES, err.Error()}
}
