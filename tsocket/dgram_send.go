package tsocket

import "context"

// sendSide is the send that is outstanding on a Dgram. Whoever holds the slot
// (bitOut) owns it.
type sendSide struct {
	d    *Dgram
	buf  []byte
	dst  Addr
	lane lane
}

// SendTo sends b to dst, or to the peer that the socket is connected to if dst
// is the zero Addr, and returns the length of b. The OpError's Err is
//
//	ErrInvalid          b is empty
//	ErrDisconnecting    a disconnect is outstanding
//	ErrBusy             another send is outstanding
//	ErrNotConnected     after a disconnect
//	ErrClosed           after Close, or Close came meanwhile
//	ErrCanceled, ErrTimeout   ctx has ended
//	a syscall.Errno     of the socket: EMSGSIZE if b is too big, also with a larger send buffer,
//	                    EDESTADDRREQ without dst, ECONNREFUSED if an earlier datagram did not arrive, ...
//
// in this order of checks. With an error b was not sent.
func (d *Dgram) SendTo(ctx context.Context, b []byte, dst Addr) (int, error) {
	if err := d.beginSend(len(b)); err != nil {
		return 0, err
	}
	err := d.ops.SendTo(ctx, b, dst)
	d.word.leave(bitOut)
	if err == nil {
		return len(b), nil
	}
	return 0, d.sendError(ctx, dst, err)
}

func (d *Dgram) beginSend(n int) error {
	refused := ErrInvalid
	if n > 0 {
		refused = d.word.enter(bitOut, mayWrite)
	}
	if refused != nil {
		return &OpError{Op: "sendto", Err: refused}
	}
	return nil
}

func (d *Dgram) sendError(ctx context.Context, dst Addr, err error) error {
	switch {
	case d.word.has(bitClosed):
		err = ErrClosed
	case interrupted(ctx, err):
		err = ctxError(ctx)
	}
	return &OpError{Op: "sendto", Addr: dst, Err: err}
}

// SendToSend starts a SendTo. b belongs to it until it is finished.
func (d *Dgram) SendToSend(ctx context.Context, b []byte, dst Addr) *Request[int] {
	if err := d.beginSend(len(b)); err != nil {
		return finishedAt(&d.home, 0, err)
	}
	s := &d.out
	s.buf, s.dst = b, dst
	if ctx.Err() != nil {
		v, err := s.stop(ctxError(ctx))
		s.release()
		return finishedAt(&d.home, v, err)
	}
	if d.try != nil {
		err := d.try.TrySendTo(b, dst)
		if !isErr(err, ErrAgain) {
			v, err := s.outcome(ctx, err)
			s.release()
			return finishedOn(&s.lane, &d.home, v, err)
		}
	}
	r := newRequest(ctx, job[int](s), true)
	r.settleIn(&d.home)
	r.lane = &s.lane
	if !r.waitIn(d.sys, true) {
		r.promote()
	}
	r.watchParent()
	return r
}

func (s *sendSide) outcome(ctx context.Context, err error) (int, error) {
	if err != nil {
		return 0, s.d.sendError(ctx, s.dst, err)
	}
	return len(s.buf), nil
}

func (s *sendSide) try() (int, error) {
	err := s.d.try.TrySendTo(s.buf, s.dst)
	if isErr(err, ErrAgain) {
		return 0, errInterrupted
	}
	return s.outcome(context.Background(), err)
}

func (s *sendSide) run(ctx context.Context) (int, error) {
	err := s.d.ops.SendTo(ctx, s.buf, s.dst)
	if err != nil && !s.d.word.has(bitClosed) && interrupted(ctx, err) {
		return 0, errInterrupted
	}
	return s.outcome(ctx, err)
}

func (s *sendSide) stop(cause error) (int, error) {
	return 0, &OpError{Op: "sendto", Addr: s.dst, Err: cause}
}

func (s *sendSide) release() {
	s.buf, s.dst = nil, Addr{}
	s.d.word.leave(bitOut)
}
