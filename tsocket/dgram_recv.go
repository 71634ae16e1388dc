package tsocket

import (
	"bytes"
	"context"
	"unsafe"
)

// recvSide is the receive that is outstanding on a Dgram. Whoever holds the
// slot (bitIn) owns it.
type recvSide struct {
	d       *Dgram
	held    []byte // a datagram for which there was no room
	heldSrc Addr
	isHeld  bool
	nextErr error // that came after the datagrams of a batch
	lane    lane
}

// RecvFrom receives the next datagram into b and returns its length and source;
// 0 is the length of a datagram without data. The OpError's Err is
//
//	ErrDisconnecting    a disconnect is outstanding
//	ErrBusy             another receive is outstanding
//	ErrNotConnected     after a disconnect
//	ErrClosed           after Close, or Close came meanwhile
//	ErrNoRoom           b is too small; the datagram is kept for the next call. RoomError says its size
//	ErrCanceled, ErrTimeout   ctx has ended
//	a syscall.Errno     of the socket, once: ECONNREFUSED if an earlier datagram did not arrive, ...
//
// in this order of checks.
func (d *Dgram) RecvFrom(ctx context.Context, b []byte) (n int, src Addr, err error) {
	if refused := d.word.enter(bitIn, mayRead); refused != nil {
		return 0, Addr{}, &OpError{Op: "recvfrom", Err: refused}
	}
	defer d.word.leave(bitIn)
	s := &d.in
	if !s.isHeld {
		if err := s.takeError(); err != nil {
			return 0, Addr{}, err
		}
		data, src, err := d.ops.RecvFrom(ctx, b)
		switch {
		case err != nil && interrupted(ctx, err):
			return 0, Addr{}, &OpError{Op: "recvfrom", Err: ctxError(ctx)}
		case err != nil:
			return 0, Addr{}, d.recvError(err)
		case sameMemory(data, b):
			return len(data), src, nil
		case len(data) <= len(b):
			return copy(b, data), src, nil
		}
		s.hold(data, src)
	}
	return s.takeHeld(b)
}

// takeHeld returns the datagram for which there was no room, if there is now.
func (s *recvSide) takeHeld(b []byte) (int, Addr, error) {
	if len(s.held) > len(b) {
		return 0, Addr{}, &OpError{Op: "recvfrom", Addr: s.heldSrc, Err: &RoomError{len(s.held)}}
	}
	s.isHeld = false
	return copy(b, s.held), s.heldSrc, nil
}

// takeError returns the error that is next in line, once.
func (s *recvSide) takeError() error {
	err := s.nextErr
	s.nextErr = nil
	return err
}

func (s *recvSide) hold(data []byte, src Addr) {
	s.held, s.heldSrc, s.isHeld = append(s.held[:0], data...), src, true
}

// sameMemory reports whether data is the front of b.
func sameMemory(data, b []byte) bool {
	return len(data) == 0 || len(b) >= len(data) && unsafe.SliceData(data) == unsafe.SliceData(b)
}

func (d *Dgram) recvError(err error) error {
	if e, ok := err.(*OpError); ok {
		return e
	}
	if d.word.has(bitClosed) {
		err = ErrClosed
	}
	e := &OpError{Op: "recvfrom", Err: err}
	if n, ok := err.(*Notice); ok {
		e.Addr = n.Dst
	}
	return e
}

// RecvFromSend starts to receive the next datagram, into memory of its own.
// The errors are those of RecvFrom, but ErrNoRoom.
func (d *Dgram) RecvFromSend(ctx context.Context) *Request[Datagram] {
	if refused := d.word.enter(bitIn, mayRead); refused != nil {
		return finishedAt(&d.home, Datagram{}, error(&OpError{Op: "recvfrom", Err: refused}))
	}
	s := &d.in
	if ctx.Err() != nil {
		v, err := s.stop(ctxError(ctx))
		s.release()
		return finishedAt(&d.home, v, err)
	}
	if d.try != nil && d.tryFirst.Load() {
		v, err := s.owned(d.tryRecv())
		if !isErr(err, ErrAgain) {
			s.release()
			return finishedOn(&s.lane, &d.home, v, err)
		}
	}
	r := newRequest(ctx, job[Datagram](s), true)
	r.settleIn(&d.home)
	r.lane = &s.lane
	if r.waitIn(d.sys, false) {
		r.watchParent()
	} else {
		d.launch(r, r.watchParent)
	}
	return r
}

func (d *Dgram) tryRecv() ([]byte, Addr, error) {
	if d.in.isHeld {
		d.in.isHeld = false
		return d.in.held, d.in.heldSrc, nil
	}
	if err := d.in.takeError(); err != nil {
		return nil, Addr{}, err
	}
	return d.try.TryRecvFrom(nil)
}

// owned gives a datagram memory of its own.
func (s *recvSide) owned(data []byte, src Addr, err error) (Datagram, error) {
	switch {
	case err == nil:
		return Datagram{bytes.Clone(data), src}, nil
	case isErr(err, ErrAgain), err == errInterrupted:
		return Datagram{}, err
	}
	return Datagram{}, s.d.recvError(err)
}

func (s *recvSide) try() (Datagram, error) { return s.owned(s.d.tryRecv()) }

func (s *recvSide) run(ctx context.Context) (Datagram, error) {
	if s.isHeld {
		s.isHeld = false
		return s.owned(s.held, s.heldSrc, nil)
	}
	if err := s.takeError(); err != nil {
		return Datagram{}, err
	}
	data, src, err := s.d.ops.RecvFrom(ctx, nil)
	if err != nil && interrupted(ctx, err) {
		err = errInterrupted
	}
	return s.owned(data, src, err)
}

func (s *recvSide) stop(cause error) (Datagram, error) {
	return Datagram{}, &OpError{Op: "recvfrom", Err: cause}
}

func (s *recvSide) release() {
	s.d.mu.Lock()
	s.d.parked = nil
	s.d.mu.Unlock()
	s.d.word.leave(bitIn)
}
