package rxrpc

import (
	"errors"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// acceptCall gives the first call that waits a tag.
func (s *Socket) acceptCall(id uint64, k *KernelCall) error {
	x, err := s.firstPending("accept", id, true)
	if err == nil {
		x.e.do(func(now proto.Time) { err = x.accept(now, k) })
	}
	return err
}

// accept takes the call. The owner calls it.
func (x *sockCall) accept(now proto.Time, k *KernelCall) error {
	s := x.s
	s.mu.Lock()
	if x.ended || x.pc == nil || x.phase == callGone { // in the meantime
		err := x.gone()
		s.release(x)
		s.mu.Unlock()
		return (&SocketError{Op: "accept", Err: err}).of(x.id)
	}
	x.phase, x.announce = callLive, false
	x.tie(k)
	s.mu.Unlock()
	if err := x.pc.Accept(now, x); err != nil {
		s.discard(x)
		return (&SocketError{Op: "accept", Err: err}).of(x.id)
	}
	return nil
}

// tie makes k the call's; s.mu is held.
func (x *sockCall) tie(k *KernelCall) {
	if x.kernel = k; k != nil {
		k.x = x
	}
}

// firstPending takes out the first call that waits; it has the tag from then on, if claim is set.
func (s *Socket) firstPending(op string, id uint64, claim bool) (*sockCall, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(errno syscall.Errno, why string) (*sockCall, error) {
		e := sockErr(op, errno, why)
		if claim {
			e = e.of(id)
		}
		return nil, e
	}
	switch {
	case s.closed:
		return nil, (&SocketError{Op: op, Err: errSocketClosed})
	case !s.state.server():
		return refuse(syscall.EISCONN, "a client's socket")
	case claim && s.calls[id] != nil:
		return refuse(errBadSlot, "the tag is in use")
	case len(s.pending) == 0:
		return refuse(syscall.ENODATA, "no call waits")
	}
	x := s.pending[0]
	s.pending[0] = nil
	s.pending = s.pending[1:]
	if x.ended {
		err := x.gone()
		s.release(x)
		e := &SocketError{Op: op, Err: err}
		if claim {
			e = e.of(id)
		}
		return nil, e
	}
	x.announce = false
	if claim {
		x.id = id
		s.calls[id] = x
	}
	return x, nil
}

// gone is why a call that waited cannot be taken any more: ETIME, ECONNABORTED or the network's error.
func (x *sockCall) gone() error {
	if !x.ended {
		return &errnoError{"the call is gone", syscall.ECONNABORTED}
	}
	var a *AbortError
	err := resultError(&x.result, nil)
	if errors.As(err, &a) && a.Errno != syscall.ETIME {
		a.Errno = syscall.ECONNABORTED
		if a.Timeout() {
			a.Errno = syscall.ETIME
		}
	}
	return err
}

// Reject refuses the first call that waits, by BUSY: its client may try again. Errors: ENODATA if none waits, ECONNABORTED if it
// was aborted meanwhile, ETIME if its client has fallen silent; EISCONN for a client's socket.
func (s *Socket) Reject() error {
	x, err := s.firstPending("reject", 0, false)
	if err != nil {
		return err
	}
	x.e.do(func(now proto.Time) {
		s.mu.Lock()
		if x.ended || x.pc == nil {
			err = &SocketError{Op: "reject", Err: x.gone()}
		}
		s.release(x)
		s.mu.Unlock()
		if err == nil {
			_ = x.pc.Reject(now, 0)
			x.pc = nil
		}
	})
	return err
}

// charge gives a call that will come a tag; or one that waits.
func (s *Socket) charge(id uint64, k *KernelCall) error {
	x, err := s.newCharge(id, k)
	if err == nil {
		x.e.do(func(now proto.Time) { err = x.charge(now) })
	}
	return err
}

// newCharge takes the tag.
func (s *Socket) newCharge(id uint64, k *KernelCall) (*sockCall, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(errno syscall.Errno, why string) (*sockCall, error) {
		return nil, sockErr("charge", errno, why).of(id)
	}
	switch {
	case s.closed:
		return nil, (&SocketError{Op: "charge", Err: errSocketClosed}).of(id)
	case s.state != serverListening:
		return refuse(syscall.EINVAL, "not listening")
	case s.calls[id] != nil:
		return refuse(errBadSlot, "the tag is in use")
	case s.charges >= s.backlog, s.cfg.MaxCalls > 0 && len(s.calls) >= s.cfg.MaxCalls:
		return refuse(syscall.ENOBUFS, "the backlog is full")
	}
	x := (&sockCall{s: s, e: s.e, id: id, phase: callCharged, credit: s.cfg.Window}).roomy()
	if err := x.count(); err != nil {
		return nil, (&SocketError{Op: "charge", Err: err}).of(id)
	}
	s.charged = true
	x.tie(k)
	s.calls[id] = x
	s.charges++
	return x, nil
}

// charge gives the tag to a call, or to the service. The owner calls it.
func (x *sockCall) charge(now proto.Time) error {
	s := x.s
	s.mu.Lock()
	gone := x.phase == callGone
	s.mu.Unlock()
	if gone || len(s.services) == 0 {
		s.discard(x)
		return sockErr("charge", syscall.EINVAL, "not listening").of(x.id)
	}
	svc := s.services[0]
	svc.SetAccept(proto.AcceptCharge)
	var err error
	if w := svc.Waiting(); w != nil {
		s.replace(w, x)
		err = w.Accept(now, x)
	} else {
		err = svc.Charge(x)
	}
	if err != nil {
		s.discard(x)
		return (&SocketError{Op: "charge", Err: err}).of(x.id)
	}
	return nil
}

// uncharge takes back the charge of x, if no call has taken it. The owner calls it.
func (s *Socket) uncharge(x *sockCall) {
	for _, svc := range s.services {
		var others []any
		svc.Uncharge(func(tag any) {
			if tag != any(x) {
				others = append(others, tag)
			}
		})
		for _, tag := range others {
			_ = svc.Charge(tag) // it was there
		}
	}
}

// replace gives a call that waits to x, which has a tag. The owner calls it.
func (s *Socket) replace(pc *proto.Call, x *sockCall) {
	old, _ := pc.Tag.(*sockCall)
	x.attach(pc)
	if old == nil {
		return
	}
	old.pc = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, y := range s.pending {
		if y == old {
			s.pending = append(s.pending[:i:i], s.pending[i+1:]...)
			break
		}
	}
	s.release(old)
}
