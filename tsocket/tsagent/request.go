package tsagent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// request is a message that the handler is looking at.
type request struct {
	a    *Agent
	d    *connector.Delivery
	h    Header
	body []byte
	s    *sock
	op   *operation // made by later
}

// forget lets go of the message.
func (r *request) forget() { r.d, r.body, r.s, r.op = nil, nil, nil, nil }

// wantsReply reports whether a completion is to be sent.
func (r *request) wantsReply() bool { return r.h.Flags&FlagNoReply == 0 }

// fail completes the request with err; nil means that it completes otherwise.
func (r *request) fail(err error) {
	if err == nil {
		return
	}
	r.a.stats.failed.Add(1)
	if r.wantsReply() {
		sendReply(r.d, Reply{Op: r.h.Op, Sock: r.h.Sock, Errno: errnoOf(err)}, errorText(err))
		return
	}
	if r.h.Op == OpCancel {
		return // it was faster
	}
	if r.s != nil {
		r.s.pushError(r.h.Op, err)
		return
	}
	// There is no owner whose events wait: one that is full does without it.
	b := Header{Op: EvError, Sock: r.h.Sock, Arg: uint64(r.h.Op)}.Append(nil)
	m := connector.Message{ID: cbid.TSocket, Data: appendErrno(b, err)}
	_ = connector.Post(context.Background(), r.a.bus, m, connector.Dest{Port: r.d.From.Port, Full: connector.FullDrop})
}

// done completes the request.
func (r *request) done(sock, value uint32, body []byte) {
	if r.wantsReply() {
		sendReply(r.d, Reply{Op: r.h.Op, Sock: sock, Value: value}, body)
	}
}

// deadline returns the deadline of the request, if it has one, and takes it off the body.
func (r *request) deadline() (d time.Duration, err error) {
	if r.h.Flags&FlagDeadline == 0 {
		return 0, nil
	}
	if len(r.body) < 8 {
		return 0, errDeadline
	}
	d = time.Duration(native.Uint64(r.body))
	r.body = r.body[8:]
	if d <= 0 {
		return 0, errDeadline
	}
	return d, nil
}

var replies = sync.Pool{New: func() any { return new([]byte) }}

func sendReply[T string | []byte](d *connector.Delivery, r Reply, body T) {
	p := replies.Get().(*[]byte)
	b := r.Append((*p)[:0])
	b = append(b, body[:min(len(body), MaxBody)]...)
	// A reply never waits: who does not read what it asked for loses it and is told.
	_ = d.Reply(context.Background(), b)
	*p = b
	replies.Put(p)
}

func errnoOf(err error) syscall.Errno {
	n := tsocket.Errno(err)
	if n == 0 {
		n = syscall.EIO
	}
	return n
}

// errorText is what a text for people says: the agent adds nothing to errors of its own.
func errorText(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}

// operation is a request that completes later.
type operation struct {
	d      *connector.Delivery
	s      *sock // that is told of a failure where no reply is wanted
	op     Op
	flags  uint16
	sock   uint32
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  context.CancelFunc
	over   atomic.Bool
}

// later makes an operation of r. parent is what its life depends on.
func (r *request) later(parent context.Context) (*operation, error) {
	limit, err := r.deadline()
	if err != nil {
		return nil, err
	}
	return r.laterWithin(parent, limit), nil
}

func (r *request) laterWithin(parent context.Context, limit time.Duration) *operation {
	o := &operation{d: r.d.Detach(), s: r.s, op: r.h.Op, flags: r.h.Flags, sock: r.h.Sock}
	o.ctx, o.cancel = context.WithCancelCause(parent)
	if limit > 0 {
		o.ctx, o.timer = context.WithTimeout(o.ctx, limit)
	}
	r.op = o
	return o
}

// finish completes the operation; it does so once. Whoever comes first reports true.
func (o *operation) finish(err error, value uint32, body []byte) bool {
	if !o.drop() {
		return false
	}
	switch {
	case o.flags&FlagNoReply != 0:
		if err != nil && o.s != nil {
			o.s.pushError(o.op, err)
		}
	case err != nil:
		sendReply(o.d, Reply{Op: o.op, Sock: o.sock, Errno: errnoOf(err), Value: value}, errorText(err))
	default:
		sendReply(o.d, Reply{Op: o.op, Sock: o.sock, Value: value}, body)
	}
	return true
}

// drop ends the operation without a completion. Whoever comes first reports true.
func (o *operation) drop() bool {
	if o.over.Swap(true) {
		return false
	}
	if o.timer != nil {
		o.timer()
	}
	o.cancel(nil)
	return true
}

// stopped turns the error of an operation into that of who stopped it.
func (o *operation) stopped(err error) error {
	if o.ctx.Err() == nil {
		return err
	}
	if context.Cause(o.ctx) == context.DeadlineExceeded {
		return &Error{syscall.ETIMEDOUT, o.op.String() + ": the deadline of the request has passed"}
	}
	var e *Error
	if errors.As(context.Cause(o.ctx), &e) {
		return e
	}
	return &Error{syscall.ECANCELED, o.op.String() + ": the socket was closed"}
}

var (
	errCanceled = &Error{syscall.ECANCELED, "cancelled by request"}
	errSockGone = &Error{syscall.ECANCELED, "the socket was closed"}
)
