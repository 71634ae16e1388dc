package rxrpc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Unused calls, of clients and of servers: the latter keep memory for requests and
// replies.
var clientCalls, serverCalls = sync.Pool{New: emptyCall}, sync.Pool{New: emptyCall}

func emptyCall() any { return &call{wake: make(chan struct{}, 1)} }

// keepBytes is the most memory that an unused call keeps for requests and for
// replies.
const keepBytes = 16 << 10

// newCall returns an empty call of e, a client's or a server's.
func (e *Endpoint) newCall(pool *sync.Pool) *call {
	c := pool.Get().(*call)
	c.e = e
	return c
}

// recycle gives c back. Nobody else may have it: it has ended, the protocol has its
// part back, and whoever waited for it has been woken.
func (c *call) recycle() {
	e := c.e
	e.tok.mu.Lock()
	queued := c.queued
	e.tok.mu.Unlock()
	if queued || c.server != nil && !c.server.v.unary {
		// The owner will still look at it; or a handler's goroutine, which should have
		// ended with the handler, may still read from it. The collector takes it then.
		return
	}
	// What a server's call has grown is used again, what a client's has is its caller's.
	pool := &clientCalls
	var in, reply []byte
	if c.server != nil {
		pool = &serverCalls
		if cap(c.in) <= keepBytes && cap(c.reply) <= keepBytes {
			in, reply = c.in[:0], c.reply[:0]
		}
	}
	c.rx.drop()
	*c = call{wake: c.wake, rx: bufQueue{bufs: c.rx.bufs}, in: in, reply: reply}
	select {
	case <-c.wake:
	default:
	}
	pool.Put(c)
}

// unary makes a call whose request is there and whose reply is appended to dst.
func (e *Endpoint) unary(ctx context.Context, p *proto.CallParams, dst, request []byte, limit int) ([]byte, error) {
	if ctx.Err() != nil {
		return dst, e.wrap("call", p, &AbortError{Code: int32(abortFor(ctx)), Errno: errnoFor(ctx), Cause: context.Cause(ctx)})
	}
	c := e.newCall(&clientCalls)
	c.params = *p
	c.collect, c.in, c.limit = true, dst, len(dst)+limit
	c.out, c.outEnd, c.outBusy = request, true, true
	c.want = wantStart | wantSend
	if e.othersFollow() {
		e.submitLater(c)
	} else {
		e.submit(c)
	}
	var gaveUp error
	if done := ctx.Done(); done == nil {
		<-c.wake
	} else {
		select {
		case <-c.wake:
		case <-done:
			gaveUp = context.Cause(ctx)
			c.abort(abortFor(ctx))
			<-c.wake
		}
	}
	reply, err := c.in, c.outcome(gaveUp)
	if err == nil {
		p.Service = c.service
	}
	c.recycle()
	if err != nil {
		return dst, e.wrap("call", p, err)
	}
	return reply, nil
}

// othersFollow reports whether other callers, whose calls have ended together with
// the caller's last one, are likely to make their next ones in a moment.
func (e *Endpoint) othersFollow() bool {
	return e.woken.Load() > 1 && e.woken.Add(-1) > 0
}

// abort has the owner abort the call.
func (c *call) abort(code wire.AbortCode) {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.code = code
	c.want |= wantAbort
	c.mu.Unlock()
	c.e.submit(c)
}

// outcome is how a call that has ended ended: nil for success. gaveUp is why the
// application aborted it, if it did.
func (c *call) outcome(gaveUp error) error {
	c.mu.Lock()
	refused, r := c.refused, c.result
	c.mu.Unlock()
	switch {
	case refused == ErrTooLarge: // the call itself may have succeeded
		return refused
	case r.Completion == proto.Succeeded:
		return nil
	case refused == nil:
	case errors.Is(refused, proto.ErrClosed):
		return ErrClosed
	case errors.Is(refused, proto.ErrCalls):
		return ErrLimit
	case r.Completion == proto.Running:
		return refused
	}
	switch {
	case gaveUp == nil:
		gaveUp = r.Err
	case r.Err != nil:
		gaveUp = fmt.Errorf("%w: %w", gaveUp, r.Err)
	}
	return resultError(&r, gaveUp)
}

func resultError(r *proto.Result, cause error) error {
	switch r.Completion {
	case proto.Succeeded:
		return nil
	case proto.LocalError, proto.NetworkError:
		errno := r.Errno
		if errno == 0 {
			errno = syscall.EIO
		}
		n := &NetError{Errno: errno, Local: r.Completion == proto.LocalError}
		if n.Local {
			n.Cause = r.Err
		}
		return n
	case proto.RemotelyAborted:
		return &AbortError{Code: int32(r.Code), Remote: true, Errno: r.Errno}
	}
	a := &AbortError{Code: int32(r.Code), Errno: r.Errno, Cause: cause}
	if cause == nil && r.Why != "" {
		a.Cause = reason(r.Why)
	}
	if cause != nil && a.Code == CallTimeout {
		a.Errno = syscall.ETIME
	}
	return a
}

// reason is why this side aborted, in words.
type reason string

func (r reason) Error() string { return string(r) }

// abortFor returns the code for a context that has ended: that of the cause, RX_CALL_TIMEOUT for
// a deadline, RX_USER_ABORT otherwise.
func abortFor(ctx context.Context) wire.AbortCode {
	cause := context.Cause(ctx)
	if cause == nil {
		return wire.UserAbort
	}
	return wire.AbortCode(CodeOf(cause))
}

func errnoFor(ctx context.Context) syscall.Errno {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return syscall.ETIME
	}
	return syscall.ECONNABORTED
}

func (e *Endpoint) wrap(op string, p *proto.CallParams, err error) error {
	return callError(op, p.Peer, p.Service, err)
}

func callError(op string, peer netip.AddrPort, service wire.ServiceID, err error) error {
	return &CallError{Op: op, Peer: peer, Service: uint16(service), Err: err}
}
