package rxclient

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A farService is a service that the agent serves for a Server: a socket that is bound to it, and listens.
type farService struct {
	e *engine
	p proto.ServiceParams

	// Of the owner.
	s         *farSocket // nil while the agent is away
	listening bool       // it is to listen when the agent is back
	refusing  bool
	closed    bool
	shut      bool // its socket is, or is about to be
}

var _ remote.Service = (*farService)(nil)

// Reserve is of remote.Engine.
func (e *engine) Reserve(ctx context.Context, p proto.ServiceParams) (remote.Service, error) {
	for _, id := range p.IDs {
		if id == 0 {
			return nil, proto.ErrService
		}
	}
	e.closing.wait(ctx, closeWait) // a service that was closed has to be free again
	v := &farService{e: e, p: p}
	s, err := v.reserve(ctx)
	if err != nil {
		return nil, err
	}
	v.s = s // nobody else knows of v
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shutting {
		e.wg.Go(func() { e.closeSocket(s) })
		return nil, proto.ErrClosed
	}
	e.services[v] = struct{}{}
	return v, nil
}

// reserve opens a socket for the service. Anybody but the owner may call it.
func (v *farService) reserve(ctx context.Context) (*farSocket, error) {
	e := v.e
	ring, err := keyringOf(v.p.Security)
	if err != nil {
		return nil, err
	}
	secure := func(s *farSocket) error {
		switch {
		case ring == nil:
			return nil
		case ring.level > 0:
			if err := e.setOption(ctx, s, rxrpc.OptMinSecurityLevel, binary.NativeEndian.AppendUint32(nil, ring.level)); err != nil {
				return err
			}
		}
		return e.setOption(ctx, s, rxrpc.OptSecurityKeyring, []byte(ring.description))
	}
	s, _, err := e.bind(ctx, rxmsg.Socket{AutoAccept: true, Secured: v.p.Secured}, e.local, uint16(v.p.IDs[0]), secure)
	if err == nil && len(v.p.IDs) > 1 {
		if err = e.bindSecond(ctx, s, v); err != nil {
			e.closeSocket(s)
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, proto.ErrInUse
	case errors.Is(err, rxrpc.ErrClosed):
		return nil, proto.ErrClosed
	case err != nil:
		return nil, err
	}
	s.svc = v
	return s, nil
}

// bindSecond binds the better service, and has clients upgraded to it.
func (e *engine) bindSecond(ctx context.Context, s *farSocket, v *farService) error {
	at := rxrpc.Addr{Service: uint16(v.p.IDs[1]), Addr: e.local}
	if _, _, err := e.c.call(ctx, rxmsg.Header{Op: rxmsg.OpBind, Sock: s.number}, at.AppendRaw(nil)); err != nil {
		return err
	}
	return e.setOption(ctx, s, rxrpc.OptUpgradeableService, upgradeOption(uint16(v.p.UpgradeFrom), uint16(v.p.UpgradeTo)))
}

func (e *engine) setOption(ctx context.Context, s *farSocket, option int, value []byte) error {
	_, _, err := e.c.call(ctx, rxmsg.Header{Op: rxmsg.OpSetOpt, Sock: s.number, Arg: rxmsg.OptArg(rxrpc.SOLRxRPC, option)}, value)
	return err
}

// keyringOf returns the keyring of the agent that a server's security is; nil if it has none.
func keyringOf(classes []proto.ServerSecurity) (ring *Keyring, err error) {
	for _, c := range classes {
		k, ok := c.(*Keyring)
		if !ok || ring != nil {
			return nil, errForeignKey
		}
		ring = k
	}
	return ring, nil
}

// Listen is of remote.Engine.
func (e *engine) Listen(ctx context.Context, v remote.Service) error {
	s := v.(*farService)
	ready := make(chan *farSocket, 1)
	e.run(func(proto.Time) {
		s.listening = true
		ready <- s.s
	})
	if sock := <-ready; sock != nil {
		return e.listen(ctx, sock)
	}
	return nil // when the agent is back
}

func (e *engine) listen(ctx context.Context, s *farSocket) error {
	_, _, err := e.c.call(ctx, rxmsg.Header{Op: rxmsg.OpListen, Sock: s.number, Arg: math.MaxInt32}, nil)
	return err
}

// Refuse is of remote.Service. What comes meanwhile is aborted by RX_INVALID_OPERATION: here, until the agent does.
func (v *farService) Refuse(refuse bool) {
	v.refusing = refuse
	if !refuse || v.s == nil || v.s.gone.Load() {
		return
	}
	o := &v.e.out
	o.cur.mem = rxmsg.Header{Op: rxmsg.OpListen, Flags: rxmsg.FlagNoReply, Sock: v.s.number}.Append(o.cur.mem)
	o.sent(v.s)
}

// Close is of remote.Service.
func (v *farService) Close(_ proto.Time, abort bool) {
	r := proto.Result{Completion: proto.LocallyAborted, Code: -1, Errno: errnoShutdown, Why: "the service was closed"}
	v.e.mu.Lock()
	delete(v.e.services, v)
	v.e.mu.Unlock()
	if abort {
		v.end(r)
	}
}

// end ends the service and its calls, but for those whose reply is complete: the agent, which may not have sent all of it, gets
// the time to unless the endpoint is closed.
func (v *farService) end(r proto.Result) {
	s := v.s
	if v.closed || s == nil {
		v.closed, v.refusing = true, true
		return
	}
	v.closed, v.refusing = true, true
	for tag, c := range s.calls {
		if c != over && !c.released {
			delete(s.calls, tag)
			c.end(r)
		}
	}
	v.e.closing.begin()
	v.e.draining[v] = struct{}{}
	v.drained()
}

// drained closes the socket of a service that is closed, when all of its replies have arrived.
func (v *farService) drained() {
	s := v.s
	if s == nil || !v.closed || v.shut {
		return
	}
	for tag, c := range s.calls {
		switch {
		case c == over:
		case !v.e.closed:
			return
		default:
			delete(s.calls, tag)
			c.end(proto.Result{Completion: proto.LocallyAborted, Code: -1, Errno: errnoShutdown})
			c.recycle()
		}
	}
	v.shut = true
	delete(v.e.draining, v)
	if s.gone.Swap(true) {
		v.e.closing.end()
		return
	}
	v.e.wg.Go(func() {
		defer v.e.closing.end()
		v.e.closeSocket(s)
	})
}

// lostSocket takes in that the agent has gone, or a socket of it. The owner calls it.
func (e *engine) lostSocket(s *farSocket, err error) {
	s.failAll(proto.Result{Completion: proto.LocalError, Errno: syscall.ENOTCONN, Err: err})
	clear(s.calls)
	if v := s.svc; v != nil && v.s == s {
		v.drained()
		v.s = nil
	}
	for _, f := range e.clients() {
		if f.s == s {
			f.s = nil
			if f == e.plain {
				e.away = err
			}
		}
	}
	if !e.closed {
		e.mend()
	}
}
