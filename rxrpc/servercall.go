package rxrpc

import (
	"io"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// An acceptor takes in the calls of a service. The owner calls accept.
type acceptor struct {
	service remote.Service
	accept  func(now proto.Time, pc *proto.Call) // of this process
	far     func(pc remote.Call)                 // of an engine elsewhere
}

// accept finds who serves a call that has arrived. A charge has told the protocol
// already.
func (e *Endpoint) accept(now proto.Time, pc *proto.Call) {
	if pc.Tag != nil {
		if x, ok := pc.Tag.(*sockCall); ok {
			x.attach(pc)
		}
		return
	}
	if a, ok := e.acceptors[pc.Service()]; ok {
		a.accept(now, pc)
		return
	}
	pc.Abort(now, wire.InvalidOperation)
	pc.Release(now)
}

// service is a service of a Server.
type service struct {
	s     *Server
	h     Handler
	unary bool
}

// accept makes a call of the server of one that has arrived.
func (v *service) accept(_ proto.Time, pc *proto.Call) { v.take(pc) }

func (v *service) take(pc remote.Call) {
	c := v.s.e.newCall(&serverCalls)
	c.pc = pc
	pc.SetTag(c)
	sc := &ServerCall{v: v, peer: pc.Peer(), service: uint16(pc.Service())}
	sc.c.Store(c)
	c.server = sc
	if v.unary {
		c.collect, c.limit = true, v.s.cfg.MaxRequest
		return // it is dispatched when all of the request is there
	}
	sc.dispatch()
}

// A ServerCall is a call that a handler executes.
type ServerCall struct {
	c       atomic.Pointer[call] // nil when the handler has returned
	v       *service
	peer    netip.AddrPort
	service uint16

	dispatched bool // a worker has it, or will; of the owner

	// mu guards what follows: the call's end, as its context tells it.
	mu   sync.Mutex
	over bool
	done chan struct{}
}

// Peer returns the address of the client.
func (s *ServerCall) Peer() netip.AddrPort { return s.peer }

// Service returns the number of the service that the call is of: after an upgrade the
// better one.
func (s *ServerCall) Service() uint16 { return s.service }

// Server returns the server that executes the call.
func (s *ServerCall) Server() *Server { return s.v.s }

// Client returns a client for calls back to who made this call, from the server's port.
func (s *ServerCall) Client(cfg *ClientConfig) *Client { return s.v.s.e.Client(s.peer, cfg) }

// Security returns how the call is secured, and by whom it was made if that is proven.
func (s *ServerCall) Security() SecurityInfo {
	var i SecurityInfo
	s.v.s.e.do(func(proto.Time) {
		if c := s.c.Load(); c != nil && c.pc != nil {
			i = c.pc.Security()
		}
	})
	return i
}

// Read reads the request; io.EOF at its end. A Unary handler has all of it
// already.
func (s *ServerCall) Read(p []byte) (int, error) {
	c := s.c.Load()
	switch {
	case s.v.unary:
		return 0, io.EOF
	case c == nil:
		return 0, s.fail("read", ErrFinished)
	}
	n, err := c.read(p)
	if err != nil && err != io.EOF {
		err = s.fail("read", err)
	}
	return n, err
}

// Write sends p as part of the reply. It returns when all of it is with the endpoint. What has not been
// read of the request is thrown away. A Unary handler returns its reply instead: ErrWriteClosed.
func (s *ServerCall) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return s.write(p, false)
}

// Close ends the reply, as returning nil does. The handler may go on after it.
func (s *ServerCall) Close() error {
	_, err := s.write(nil, true)
	return err
}

func (s *ServerCall) write(p []byte, end bool) (int, error) {
	c := s.c.Load()
	switch {
	case c == nil:
		return 0, s.fail("write", ErrFinished)
	case s.v.unary:
		return 0, s.fail("write", ErrWriteClosed)
	}
	c.throwAway()
	n, err := c.write(p, end, 0)
	if err != nil {
		err = s.fail("write", err)
	}
	return n, err
}

// SetLength announces how long the reply will be, before anything of it is written.
func (s *ServerCall) SetLength(n int64) error {
	err := ErrFinished
	s.v.s.e.do(func(proto.Time) {
		c := s.c.Load()
		switch {
		case c == nil:
		case c.pc == nil:
			err = errOutcome
		default:
			err = c.pc.SetTxLength(n)
		}
	})
	if err != nil {
		return s.fail("set length", err)
	}
	return nil
}

func (s *ServerCall) fail(op string, err error) error {
	if err == errOutcome {
		err = ErrFinished
		if c := s.c.Load(); c != nil {
			if why := c.outcome(nil); why != nil {
				err = why
			}
		}
	}
	return callError(op, s.peer, wire.ServiceID(s.service), err)
}

// throwAway has what is left of the request dropped: the handler has read enough.
func (c *call) throwAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rxEnd {
		c.discard = true
	}
	c.took += c.rx.drop() // or there would be no window for the rest
}

// dispatch hands the call to a worker. The owner calls it.
func (s *ServerCall) dispatch() {
	srv := s.v.s
	srv.mu.Lock()
	if srv.closing {
		srv.mu.Unlock()
		return // the protocol aborts it
	}
	srv.active++
	srv.mu.Unlock()
	s.dispatched = true
	srv.pool.dispatch(s)
}

// run executes the handler, on a worker. more: other calls wait for a worker.
func (s *ServerCall) run(more bool) {
	err := s.serve()
	c := s.c.Swap(nil) // the handler may have kept s
	s.end()
	// In one step the call is detached and in the queue: an owner who finds it detached lets go of it, unless it is in the queue.
	e := c.e
	e.tok.mu.Lock()
	c.mu.Lock()
	switch {
	case c.ended:
	case err != nil:
		c.code = wire.AbortCode(CodeOf(err))
		c.want |= wantAbort
	case !c.outEnd:
		c.took += c.rx.drop()
		c.discard = !c.rxEnd
		c.out, c.outEnd, c.outBusy = c.reply, true, true
		c.want |= wantSend
	}
	c.detached = true
	c.want |= wantSettle
	c.mu.Unlock()
	e.tok.add(c)
	if more {
		e.takeLater()
	} else {
		e.take()
	}
}

// gone is told by the owner when nothing is left to be done for the call.
func (s *ServerCall) gone() {
	srv := s.v.s
	srv.mu.Lock()
	srv.active--
	srv.tellDrained()
	srv.mu.Unlock()
}

// serve calls the handler. One that panics aborts its call, and nothing else.
func (s *ServerCall) serve() (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.v.s.e.log.panicked(s.service, s.peer, p, debug.Stack())
			err = Abort(UserAbort)
		}
	}()
	return s.v.h.ServeRx((*callContext)(s), s)
}

// ended is told by the owner that the call has ended, and reports whether a handler
// has it.
func (s *ServerCall) ended(*proto.Result) bool {
	s.end()
	return s.dispatched
}

// end ends the call's context.
func (s *ServerCall) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		if s.done != nil {
			close(s.done)
		}
	}
}
