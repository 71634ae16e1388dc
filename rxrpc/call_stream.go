package rxrpc

import (
	"context"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Call is a call of a client in two phases: Write the request, CloseWrite, Read the
// reply up to io.EOF. Read ends the request itself if CloseWrite has not been called.
//
// Writes and reads wait for each other if they come from several goroutines; Abort does not wait. A call whose reply
// was not read to its end must be ended by Close or Abort, or by its context.
type Call struct {
	c    *call
	ctx  context.Context
	stop func() bool
	peer netip.AddrPort
	svc  uint16

	// op is held by the write or read that runs.
	op      sync.Mutex
	started bool // op guards it
	cause   atomic.Pointer[error]
}

var (
	_ io.ReadWriteCloser = (*Call)(nil)
	_ io.ReadWriteCloser = (*ServerCall)(nil)
)

// NewCall begins a call of a service. Nothing is sent before the first Write,
// CloseWrite or Read. When ctx ends the call is aborted, as Client.Call does.
func (c *Client) NewCall(ctx context.Context, service uint16, opts ...CallOption) (*Call, error) {
	p := c.params(service)
	for _, o := range opts {
		o(&p)
	}
	if ctx.Err() != nil {
		return nil, callError("new call", c.peer, p.Service, &AbortError{Code: int32(abortFor(ctx)), Errno: errnoFor(ctx), Cause: context.Cause(ctx)})
	}
	x := &Call{c: &call{e: c.e, params: p, wake: make(chan struct{}, 1)}, ctx: ctx, peer: c.peer, svc: service}
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, x.contextEnded)
	}
	return x, nil
}

func (x *Call) contextEnded() {
	cause := context.Cause(x.ctx)
	x.cause.CompareAndSwap(nil, &cause)
	x.abort(abortFor(x.ctx))
}

// Peer returns the address of the server.
func (x *Call) Peer() netip.AddrPort { return x.peer }

// Service returns the number of the service that the call is of: once the reply has
// been read to its end, that of the better one if the call asked for an upgrade and got it.
func (x *Call) Service() uint16 {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.c.ended && x.c.service != 0 {
		return uint16(x.c.service)
	}
	return x.svc
}

// Write sends p as part of the request. It returns when all of it is with the
// endpoint; p is not used any more then.
func (x *Call) Write(p []byte) (int, error) {
	x.op.Lock()
	defer x.op.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := x.c.write(p, false, x.first())
	if err != nil {
		return n, x.fail("write", err)
	}
	return n, nil
}

// CloseWrite ends the request.
func (x *Call) CloseWrite() error {
	x.op.Lock()
	defer x.op.Unlock()
	if _, err := x.c.write(nil, true, x.first()); err != nil {
		return x.fail("write", err)
	}
	return nil
}

// WriteLast is Write and CloseWrite in one: the last packet of p says that it is
// the last.
func (x *Call) WriteLast(p []byte) (int, error) {
	x.op.Lock()
	defer x.op.Unlock()
	n, err := x.c.write(p, true, x.first())
	if err != nil {
		return n, x.fail("write", err)
	}
	return n, nil
}

// first returns what the first operation wants besides.
func (x *Call) first() want {
	if x.started {
		return 0
	}
	x.started = true
	return wantStart
}

// Read reads the reply. io.EOF says that it was received in full, and that the call
// has succeeded.
func (x *Call) Read(p []byte) (int, error) {
	x.op.Lock()
	defer x.op.Unlock()
	if !x.c.writeEnded() {
		if _, err := x.c.write(nil, true, x.first()); err != nil {
			return 0, x.fail("read", err)
		}
	}
	n, err := x.c.read(p)
	if err == io.EOF {
		x.finished()
		return n, io.EOF
	}
	if err != nil {
		return n, x.fail("read", err)
	}
	return n, nil
}

// Abort aborts the call with a code, unless it has ended.
func (x *Call) Abort(code int32) {
	var cause error = &AbortError{Code: code}
	x.cause.CompareAndSwap(nil, &cause)
	x.abort(wire.AbortCode(code))
}

func (x *Call) abort(code wire.AbortCode) { x.c.abort(code) }

// Close aborts the call by RX_USER_ABORT unless it has ended, and forgets what was not
// read. It is idempotent, and always returns nil.
func (x *Call) Close() error {
	x.Abort(UserAbort)
	x.finished()
	x.c.mu.Lock()
	x.c.rx.drop()
	x.c.mu.Unlock()
	return nil
}

func (x *Call) finished() {
	if x.stop != nil {
		x.stop()
	}
}

// fail makes the error of an operation of err, which is how the call ended.
func (x *Call) fail(op string, err error) error {
	if err == errOutcome {
		var cause error
		if p := x.cause.Load(); p != nil {
			cause = *p
			if _, own := cause.(*AbortError); own && x.ctx.Err() == nil {
				cause = nil
			}
		}
		if err = x.c.outcome(cause); err == nil {
			err = ErrFinished
		}
		x.finished()
	}
	return callError(op, x.peer, wire.ServiceID(x.svc), err)
}

// errOutcome says that the call has ended: its outcome tells how.
var errOutcome = proto.ErrEnded
