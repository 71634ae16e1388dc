package tsocket

import (
	"context"
	"errors"
	"io"
)

func isErr(err, target error) bool { return err == target || errors.Is(err, target) }

// readSide is the read that is outstanding on a stream. Whoever holds the slot
// (bitIn) owns it.
type readSide struct {
	s      *Stream
	vec    [][]byte // what is left to fill
	orig   [][]byte // what was asked for
	n      int64    // how much is filled
	ahead  readAhead
	parked bool // the stream knows the request that has the slot
	vain   int  // how often in a row it was tried in vain first, or would have been
}

// checkVectors returns the sum of bufs, or the refusal.
func checkVectors(bufs [][]byte) (int64, *Error) {
	if len(bufs) > iovMax {
		return 0, ErrTooLong
	}
	var sum int64
	for _, b := range bufs {
		if sum += int64(len(b)); sum < 0 {
			return 0, ErrTooLong
		}
	}
	if sum == 0 {
		return 0, ErrInvalid
	}
	return sum, nil
}

// Readv fills all of bufs and returns their sum. With an error it returns how
// much it has filled: an OpError whose Err is
//
//	ErrTooLong          more than 1024 vectors
//	ErrInvalid          the sum of bufs is 0
//	ErrDisconnecting    a disconnect is outstanding
//	ErrBusy             another read is outstanding
//	ErrNotConnected     after a disconnect
//	ErrClosed           after Close, or Close came meanwhile
//	ErrEOF              the stream has ended before the first byte
//	ErrUnexpectedEOF    it has ended after that
//	ErrCanceled, ErrTimeout   ctx has ended; see SetCancelRule if N is not 0
//	ErrPoisoned         an earlier read was stopped half done
//	a syscall.Errno     of the socket
//
// in this order of checks. The error of a socket, and the end of the stream, is the
// error of all later calls too.
func (s *Stream) Readv(ctx context.Context, bufs ...[]byte) (int64, error) {
	if err := s.beginRead("readv", bufs); err != nil {
		return 0, err
	}
	n, err := s.rd().run(ctx)
	if err == errInterrupted {
		n, err = s.rd().stop(ctxError(ctx))
	}
	s.rd().release()
	return n, err
}

// ReadvSend starts a Readv. bufs belong to it until it is finished.
func (s *Stream) ReadvSend(ctx context.Context, bufs ...[]byte) *Request[int64] {
	if err := s.beginRead("readv", bufs); err != nil {
		return finishedAt[int64](&s.home, 0, err)
	}
	return sendRead(ctx, s, s.rd())
}

func (d *readSide) try() (int64, error) { return d.tryNow() }

// launch sees to it that a read request is run: later, where trying is cheap and
// somebody may call Wait; at once otherwise.
func (s *Stream) launch(r parkedRequest, watch func()) {
	if s.try != nil && s.tryFirst.Load() {
		s.park(r)
	} else {
		r.promote()
	}
	watch()
}

// beginRead takes the slot for a read of bufs.
func (s *Stream) beginRead(op string, bufs [][]byte) error {
	_, refused := checkVectors(bufs)
	if refused == nil {
		refused = s.word.enter(bitIn, mayRead)
	}
	if refused != nil {
		return &OpError{Op: op, Err: refused}
	}
	if e := s.stickyRead(); e != nil {
		s.word.leave(bitIn)
		return &OpError{Op: op, Err: e.Err}
	}
	s.rd().set(bufs)
	return nil
}

// stickyRead returns the error that ended the reading side. What was read ahead
// before it can still be read, unless nobody knows any more where it belongs.
func (s *Stream) stickyRead() *OpError {
	e := s.readErr.Load()
	if e != nil && e.Err != ErrPoisoned && s.rd().ahead.size() > 0 {
		return nil
	}
	return e
}

func (d *readSide) set(bufs [][]byte) {
	d.vec = append(d.vec[:0], bufs...)
	d.orig = append(d.orig[:0], bufs...)
	d.n = 0
}

// run reads until all vectors are full.
func (d *readSide) run(ctx context.Context) (int64, error) {
	vec := d.vec
	for {
		if vec = d.takeAhead(vec); len(vec) == 0 {
			return d.n, nil
		}
		if e := d.s.readErr.Load(); e != nil {
			return d.sticky("readv", e)
		}
		n, err := d.s.ops.ReadSome(ctx, vec)
		vec = d.account(vec, n)
		if err != nil {
			d.keep(vec)
			if interrupted(ctx, err) {
				return d.n, errInterrupted
			}
			return d.fail("readv", err)
		}
	}
}

// tryNow reads what is there; errInterrupted says that there is more to come.
func (d *readSide) tryNow() (int64, error) {
	vec := d.vec
	for {
		if vec = d.takeAhead(vec); len(vec) == 0 {
			return d.n, nil
		}
		if d.s.try == nil {
			d.keep(vec)
			return d.n, errInterrupted // it needs a goroutine
		}
		if e := d.s.readErr.Load(); e != nil {
			return d.sticky("readv", e)
		}
		n, err := d.s.try.TryRead(vec)
		vec = d.account(vec, n)
		if err != nil {
			d.keep(vec)
			if isErr(err, ErrAgain) {
				return d.n, errInterrupted
			}
			return d.fail("readv", err)
		}
	}
}

// takeAhead fills vec from what was read ahead.
func (d *readSide) takeAhead(vec [][]byte) [][]byte {
	for len(vec) > 0 && d.ahead.size() > 0 {
		n := d.ahead.read(vec[0])
		vec = d.account(vec, n)
	}
	return vec
}

func (d *readSide) account(vec [][]byte, n int) [][]byte {
	d.n += int64(n)
	return advance(vec, n)
}

// keep remembers what is left to fill, at the front of the same memory.
func (d *readSide) keep(vec [][]byte) { d.vec = append(d.vec[:0], vec...) }

// sticky is the outcome of a read that has used up what was read ahead of an
// error.
func (d *readSide) sticky(op string, e *OpError) (int64, error) {
	err := e.Err
	if err == ErrEOF && d.n > 0 {
		err = ErrUnexpectedEOF
	}
	return d.n, opError(op, d.n, err)
}

// fail turns an error of the stream into the outcome of the read.
func (d *readSide) fail(op string, err error) (int64, error) {
	s := d.s
	if s.word.has(bitClosed) {
		return d.n, opError(op, d.n, ErrClosed)
	}
	if err == io.EOF {
		if err = ErrEOF; d.n > 0 {
			err = ErrUnexpectedEOF
		}
	}
	e := opError(op, d.n, err)
	s.fail(e, &s.readErr)
	return d.n, e
}

// stop ends a read that was interrupted.
func (d *readSide) stop(cause error) (int64, error) { return d.stopAfter(0, cause) }

// stopAfter is stop where before bytes of the operation were read that cannot
// be put back.
func (d *readSide) stopAfter(before int64, cause error) (int64, error) {
	e := opError("readv", before+d.n, cause)
	if e.N == 0 || cause == ErrClosed {
		return e.N, e
	}
	rule := CancelRule(d.s.cancelRule.Load())
	if rule == CancelRestores {
		d.restore()
		if e.N = before; before > 0 {
			rule = CancelPoisons
		}
	}
	if rule == CancelPoisons {
		e.Poisoned = true
		d.s.readErr.CompareAndSwap(nil, &OpError{Op: e.Op, Err: ErrPoisoned})
	}
	return e.N, e
}

// restore puts what was read into the vectors back into the stream.
func (d *readSide) restore() {
	d.ahead.unread(d.orig, d.n)
	d.n = 0
}

// release frees the slot.
func (d *readSide) release() {
	clear(d.vec)
	clear(d.orig)
	if d.parked {
		d.parked = false
		d.s.unpark()
	}
	d.s.word.leave(bitIn)
}
