package tsocket

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// udpDgram is a UDP socket that moves many datagrams with one system call.
type udpDgram struct {
	fdDgram
	in  mmsgIn
	out mmsgOut
}

func newDgramOps(fd int, udp bool, local, remote Addr) DgramOps {
	if !udp {
		return newFDDgram(fd, false, local, remote)
	}
	s := &udpDgram{}
	s.fdDgram.init(fd, true, local, remote)
	s.in.op.init(&s.sys, false, s.tryRecvBatch)
	s.out.op.init(&s.sys, true, s.trySendBatch)
	if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO); err == nil {
		s.in.gro.Store(on != 0) // who made the socket has switched it on
	}
	return s
}

// EnableGRO lets the kernel hand over several datagrams of one sender as one
// piece (Linux: UDP_GRO), which RecvBatch and RecvFrom take apart again: nothing but the
// speed changes. It reports whether the kernel does so; not while a receive is outstanding. It
// cannot be taken back, for the kernel may hold pieces already.
func (d *Dgram) EnableGRO() bool {
	s, ok := d.ops.(*udpDgram)
	if !ok || d.word.enter(bitIn, mayRead) != nil {
		return false
	}
	defer d.word.leave(bitIn)
	err := s.sys.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	s.in.gro.Store(err == nil)
	return err == nil
}

// RecvFrom returns the next datagram, of those that came in one piece first.
func (s *udpDgram) RecvFrom(ctx context.Context, b []byte) ([]byte, Addr, error) {
	if !s.in.gro.Load() {
		return s.fdDgram.RecvFrom(ctx, b)
	}
	if data, src, ok := s.in.next(); ok {
		return data, src, nil
	}
	if err := s.fill(ctx); err != nil {
		return nil, Addr{}, err
	}
	data, src, _ := s.in.next()
	return data, src, nil
}

// TryRecvFrom is RecvFrom without waiting.
func (s *udpDgram) TryRecvFrom(b []byte) ([]byte, Addr, error) {
	if !s.in.gro.Load() {
		return s.fdDgram.TryRecvFrom(b)
	}
	if data, src, ok := s.in.next(); ok {
		return data, src, nil
	}
	if err := s.tryFill(); err != nil {
		return nil, Addr{}, err
	}
	data, src, _ := s.in.next()
	return data, src, nil
}

// RecvBatch returns what is left of the last piece, or waits for more.
func (s *udpDgram) RecvBatch(ctx context.Context, msgs []Message) (int, error) {
	x := &s.in
	if n := x.take(msgs); n > 0 {
		return n, nil
	}
	if x.gro.Load() {
		if err := s.fill(ctx); err != nil {
			return 0, err
		}
		return x.take(msgs), nil
	}
	x.msgs = msgs
	err := s.transfer(ctx, &x.op, x.outcome)
	x.msgs = nil
	if err != nil {
		return 0, err
	}
	return x.n, nil
}

// TryRecvBatch is RecvBatch without waiting.
func (s *udpDgram) TryRecvBatch(msgs []Message) (int, error) {
	x := &s.in
	if n := x.take(msgs); n > 0 {
		return n, nil
	}
	if x.gro.Load() {
		if err := s.tryFill(); err != nil {
			return 0, err
		}
		return x.take(msgs), nil
	}
	x.msgs = msgs
	err := s.tryNow(&x.op, x.outcome)
	x.msgs = nil
	if err != nil {
		return 0, err
	}
	return x.n, nil
}

// RecvPieces is RecvBatch that does not take apart what the kernel hands over as one piece (EnableGRO): many datagrams
// with the cost of one, each piece in memory of the caller. It returns how many pieces there are. ErrNotSupported on a
// socket without EnableGRO, ErrInvalid if a Buf is shorter than 64 KiB; otherwise the errors are those of RecvBatch.
func (d *Dgram) RecvPieces(ctx context.Context, pieces []Piece) (int, error) {
	s, err := d.beginRecvPieces(pieces)
	if err != nil {
		return 0, err
	}
	n, err := d.recvPieces(ctx, s, pieces)
	if err != nil {
		n, err = 0, d.batchError(ctx, err)
	}
	d.word.leave(bitIn)
	return n, err
}

// TryRecvPieces is RecvPieces that fails with ErrAgain where it would wait.
func (d *Dgram) TryRecvPieces(pieces []Piece) (int, error) {
	s, err := d.beginRecvPieces(pieces)
	if err != nil {
		return 0, err
	}
	n, err := d.recvPieces(noWait, s, pieces)
	switch {
	case err == nil:
	case isErr(err, ErrAgain):
		n, err = 0, errRecvPiecesAgain
	default:
		n, err = 0, d.recvError(err)
	}
	d.word.leave(bitIn)
	return n, err
}

// noWait is the context of what does not wait.
var noWait context.Context

var errRecvPiecesAgain error = &OpError{Op: "recvpieces", Err: ErrAgain}

// beginRecvPieces says what is wrong with a receive; if nothing is, the receiving side is its until it leaves.
func (d *Dgram) beginRecvPieces(pieces []Piece) (*udpDgram, error) {
	s, ok := d.ops.(*udpDgram)
	refused := ErrInvalid
	switch {
	case !ok || !s.in.gro.Load():
		refused = ErrNotSupported
	case validPieces(pieces):
		refused = d.word.enter(bitIn, mayRead)
	}
	if refused != nil {
		return nil, &OpError{Op: "recvpieces", Err: refused}
	}
	return s, nil
}

// recvPieces waits until ctx ends; without one it does not wait.
func (d *Dgram) recvPieces(ctx context.Context, s *udpDgram, pieces []Piece) (int, error) {
	in, p := &d.in, &pieces[0]
	if in.isHeld {
		in.isHeld = false
		p.whole(in.held, in.heldSrc)
		return 1, nil
	}
	if err := in.takeError(); err != nil {
		return 0, err
	}
	if data, src, ok := s.in.next(); ok { // what is left of a piece that was taken apart
		p.whole(data, src)
		return 1, nil
	}
	s.in.into = pieces
	var err error
	if ctx == nil {
		err = s.tryFill()
	} else {
		err = s.fill(ctx)
	}
	s.in.into = nil
	if err != nil {
		return 0, err
	}
	return s.in.n, nil
}

// fill receives pieces into memory of the socket.
func (s *udpDgram) fill(ctx context.Context) error {
	return s.transfer(ctx, &s.in.op, s.in.outcome)
}

func (s *udpDgram) tryFill() error { return s.tryNow(&s.in.op, s.in.outcome) }

func (s *udpDgram) tryNow(op *fdOp, outcome func() error) error {
	done, err := op.now()
	op.soft = false
	switch {
	case err != nil:
		return err
	case !done:
		return ErrAgain
	}
	err = outcome()
	op.soft = err == ErrAgain
	return err
}

func (s *udpDgram) soft(write bool) bool {
	op := &s.in.op
	if write {
		op = &s.out.op
	}
	return op.soft || s.fdDgram.soft(write)
}

// SendBatch sends all of msgs.
func (s *udpDgram) SendBatch(ctx context.Context, msgs []Message) (int, error) {
	x := &s.out
	x.prepare(msgs)
	err := s.transfer(ctx, &x.op, x.outcome)
	x.msgs = nil
	return x.n, err
}

// TrySendBatch sends what there is room for.
func (s *udpDgram) TrySendBatch(msgs []Message) (int, error) {
	x := &s.out
	x.prepare(msgs)
	err := s.tryNow(&x.op, x.outcome)
	x.msgs = nil
	return x.n, err
}

// again turns the errno of a batch into an error, ErrAgain where it is to be
// tried a little later.
func again(errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case syscall.ENOMEM:
		return ErrAgain
	}
	return errno
}
