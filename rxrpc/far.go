package rxrpc

import (
	"context"
	"slices"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// OnEngine makes an endpoint whose protocol far runs, which is no use to programs: package rxagent/rxclient has those that work over a bus. Of
// cfg the Logger counts, and what Hooks say of calls does not.
func OnEngine(far remote.Engine, cfg *Config) *Endpoint {
	e := &Endpoint{
		cfg:       cfg.withDefaults(),
		local:     far.LocalAddr(),
		start:     time.Now(),
		far:       far,
		acceptors: make(map[wire.ServiceID]acceptor),
		quit:      make(chan struct{}),
	}
	e.log = logger{e.cfg.Logger}
	e.flusher.init(e)
	go e.flushLoop()
	far.Start(e.ring)
	return e
}

// ResultError makes the error of a call that an engine of package internal/remote has told the end of: nil, *AbortError, *NetError.
func ResultError(r proto.Result) error { return resultError(&r, r.Err) }

// workFar is work for an engine that runs elsewhere.
func (e *Endpoint) workFar(now proto.Time, calls []*call, tasks []task) {
	e.far.Receive(now)
	for _, c := range calls {
		c.serve(now)
	}
	e.doTasks(now, tasks)
	e.wokenNow = 0
	e.events(now)
	if e.wokenNow > 0 { // most rounds are of callers that begin calls
		e.woken.Store(e.wokenNow)
	}
	e.far.Flush(now)
	e.tellIdle()
}

// farEvents is events.
func (e *Endpoint) farEvents(now proto.Time) {
	for {
		ev, ok := e.far.Event()
		if !ok {
			return
		}
		if ev.What.Has(proto.Arrived) {
			a, ok := e.acceptors[ev.Call.Service()]
			if !ok {
				ev.Call.Abort(now, wire.InvalidOperation)
				ev.Call.Release(now)
				continue
			}
			a.far(ev.Call)
		}
		if c, ok := ev.Call.Tagged().(*call); ok {
			c.happened(now, ev.What)
		}
	}
}

// newProtoCall begins a client's call, with whoever runs the protocol.
func (e *Endpoint) newProtoCall(now proto.Time, p *proto.CallParams) (remote.Call, error) {
	if e.far != nil {
		return e.far.NewCall(now, p)
	}
	pc, err := e.p.NewCall(now, p)
	if err != nil {
		return nil, err // and no *proto.Call that is nil
	}
	return pc, nil
}

func (e *Endpoint) idle() bool {
	if e.far != nil {
		return e.far.Idle()
	}
	return e.p.Idle()
}

func (e *Endpoint) shutFar() {
	e.do(func(now proto.Time) {
		e.far.Close(now)
		e.events(now)
		e.far.Flush(now)
	})
	e.closed.Store(true)
	e.tok.mu.Lock()
	e.tok.closed = true
	e.tok.mu.Unlock()
	close(e.quit)
	<-e.flusher.done
	e.far.End()
}

// listenFar is listen; it waits for the agent, which the owner must not.
func (s *Server) listenFar(p proto.ServiceParams, handlers []Handler) error {
	ctx := context.Background()
	svc, err := s.e.far.Reserve(ctx, p)
	if err != nil {
		return err
	}
	s.e.do(func(proto.Time) { s.serve(svc, p.IDs, handlers) })
	if err = s.e.far.Listen(ctx, svc); err != nil {
		s.mu.Lock()
		s.services = slices.DeleteFunc(s.services, func(o remote.Service) bool { return o == svc })
		s.mu.Unlock()
		s.e.do(func(now proto.Time) { s.forget(now, svc) })
	}
	return err
}
