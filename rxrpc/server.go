package rxrpc

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Handler executes the calls of a service, each on a goroutine of its own, which is
// used again for later calls.
//
// It reads the request from call, writes the reply to it and returns nil, which ends the reply; or an
// error, which aborts the call with the code that CodeOf gives: Abort(code) for a certain
// one. It need not read to the end: what is left of the request when it begins to write or returns is thrown away.
// ctx ends when the call has ended: the client has aborted it or is dead, or the server is closed.
// ctx and call are valid until ServeRx returns.
type Handler interface {
	ServeRx(ctx context.Context, call *ServerCall) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, call *ServerCall) error

// ServeRx calls f.
func (f HandlerFunc) ServeRx(ctx context.Context, call *ServerCall) error { return f(ctx, call) }

// Unary is a Handler for calls whose request is small: it is called with the whole request, which is valid until
// it returns, and appends the reply to dst, or returns an error as a Handler does. A request
// longer than ServerConfig.MaxRequest is aborted by RXGEN_SS_UNMARSHAL.
type Unary func(ctx context.Context, call *ServerCall, dst, request []byte) (reply []byte, err error)

// ServeRx reads the request and calls f.
func (f Unary) ServeRx(ctx context.Context, call *ServerCall) error {
	c := call.c.Load()
	reply, err := f(ctx, call, c.reply[:0], c.in)
	if err != nil {
		return err
	}
	c.reply = reply
	return nil
}

// abortTooLarge is RXGEN_SS_UNMARSHAL: what a stub that cannot take its arguments says.
const abortTooLarge = -453

// ServerConfig is how a Server works. nil, and zero values, mean the defaults.
type ServerConfig struct {
	// Security are the classes that clients may use besides none.
	Security []ServerSecurity
	// Secured refuses calls without security.
	Secured bool

	// Workers is how many handlers run at a time, default 1024; further calls wait
	// for one to return.
	Workers int
	// MaxRequest is the longest request of a Unary handler, default 1 MiB.
	MaxRequest int

	Timeouts Timeouts
}

const (
	defaultWorkers    = 1024
	defaultMaxRequest = 1 << 20
)

// A Server serves services on an endpoint.
type Server struct {
	e    *Endpoint
	cfg  ServerConfig
	pool workers

	// mu guards what follows.
	mu       sync.Mutex
	services []remote.Service
	active   int // calls that handlers have, or whose reply the protocol does not have in full
	closing  bool
	drained  chan struct{} // closed when closing and no call is active
	isEmpty  bool          // drained is closed
}

// NewServer returns a server on e, to which Handle adds services. Several servers may
// share an endpoint, each with services of its own.
func NewServer(e *Endpoint, cfg *ServerConfig) *Server {
	s := &Server{e: e, drained: make(chan struct{})}
	if cfg != nil {
		s.cfg = *cfg
	}
	if s.cfg.Workers <= 0 {
		s.cfg.Workers = defaultWorkers
	}
	if s.cfg.MaxRequest <= 0 {
		s.cfg.MaxRequest = defaultMaxRequest
	}
	s.pool.init(s.cfg.Workers)
	return s
}

// Endpoint returns the endpoint that s serves on. Its clients make calls from the
// server's port.
func (s *Server) Endpoint() *Endpoint { return s.e }

// Handle serves a service from now on. Errors: an *EndpointError with ErrServiceTaken, ErrClosed, or EINVAL for
// service 0.
func (s *Server) Handle(service uint16, h Handler) error {
	return s.listen(proto.ServiceParams{IDs: []wire.ServiceID{wire.ServiceID(service)}}, h, h)
}

// HandleUpgrade serves two services, of which to is the better one: a client that asks for an upgrade
// of from gets to, for all calls of its connection. The handlers of both must understand
// the request that asks.
func (s *Server) HandleUpgrade(from uint16, old Handler, to uint16, upgraded Handler) error {
	a, b := wire.ServiceID(from), wire.ServiceID(to)
	return s.listen(proto.ServiceParams{IDs: []wire.ServiceID{a, b}, UpgradeFrom: a, UpgradeTo: b}, old, upgraded)
}

func (s *Server) listen(p proto.ServiceParams, handlers ...Handler) error {
	p.Security, p.Secured = s.cfg.Security, s.cfg.Secured
	p.Accept, p.Timeouts = proto.AcceptAuto, proto.Timeouts(s.cfg.Timeouts)
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	err := ErrClosed
	switch {
	case closing:
	case s.e.far != nil:
		err = s.listenFar(p, handlers)
	default:
		s.e.do(func(now proto.Time) {
			var svc *proto.Service
			if svc, err = s.e.p.Listen(now, p); err == nil {
				s.serve(svc, p.IDs, handlers)
			}
		})
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, proto.ErrInUse):
		err = ErrServiceTaken
	case errors.Is(err, proto.ErrClosed):
		err = ErrClosed
	}
	return &EndpointError{Op: "handle", Local: s.e.local, Err: err}
}

// serve has the handlers take the calls of svc. The owner calls it.
func (s *Server) serve(svc remote.Service, ids []wire.ServiceID, handlers []Handler) {
	for i, id := range ids {
		_, unary := handlers[i].(Unary)
		v := &service{s: s, h: handlers[i], unary: unary}
		s.e.acceptors[id] = acceptor{svc, v.accept, v.take}
	}
	s.mu.Lock()
	s.services = append(s.services, svc)
	s.mu.Unlock()
}

// Client returns a client of the services at peer whose calls leave from the port of
// the server.
func (s *Server) Client(peer netip.AddrPort, cfg *ClientConfig) *Client { return s.e.Client(peer, cfg) }

// Shutdown refuses new calls by RX_INVALID_OPERATION, waits until those that it has are
// executed and their replies sent, and closes the server. If ctx ends first it closes at once and returns
// the cause. Endpoint.Wait waits until the replies have arrived, too.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	var err error
	select {
	case <-s.drained:
	case <-ctx.Done():
		err = &EndpointError{Op: "shutdown", Local: s.e.local, Err: context.Cause(ctx)}
	}
	_ = s.Close()
	return err
}

// stopAccepting has new calls refused.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	services, first := s.services, !s.closing
	s.closing = true
	s.tellDrained()
	s.mu.Unlock()
	if first {
		s.e.do(func(proto.Time) {
			for _, svc := range services {
				svc.Refuse(true)
			}
		})
	}
}

// tellDrained closes drained when there is nothing left; s.mu is held.
func (s *Server) tellDrained() {
	if s.closing && s.active == 0 && !s.isEmpty {
		s.isEmpty = true
		close(s.drained)
	}
}

// forget ends services. The owner calls it.
func (s *Server) forget(now proto.Time, services ...remote.Service) {
	for id, a := range s.e.acceptors {
		if slices.Contains(services, a.service) {
			delete(s.e.acceptors, id)
		}
	}
	for _, svc := range services {
		svc.Close(now, true)
	}
}

// Close ends the services: calls in progress are aborted by RX_CALL_DEAD, which ends the contexts of
// their handlers; it waits until those have returned. The endpoint stays open. It is idempotent.
func (s *Server) Close() error {
	s.stopAccepting()
	s.mu.Lock()
	services := s.services
	s.services = nil
	s.mu.Unlock()
	s.e.do(func(now proto.Time) { s.forget(now, services...) })
	<-s.drained
	s.pool.close()
	return nil
}
