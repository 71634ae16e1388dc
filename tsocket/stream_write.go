package tsocket

import "context"

// writeSide is the write that is outstanding on a stream. Whoever holds the
// slot (bitOut) owns it.
type writeSide struct {
	s   *Stream
	vec [][]byte // what is left to write
	n   int64    // how much is written
}

// Writev writes all of bufs and returns their sum. With an error it returns how
// much it has written. The errors are those of Readv; EPIPE is that of a peer that
// reads no more, also when the end of what it wrote has been read (see SetHalfOpen).
func (s *Stream) Writev(ctx context.Context, bufs ...[]byte) (int64, error) {
	d := s.wr()
	if err := s.beginWrite(bufs); err != nil {
		return 0, err
	}
	n, err := d.run(ctx)
	if err == errInterrupted {
		n, err = d.stop(ctxError(ctx))
	}
	d.release()
	return n, err
}

// WritevSend starts a Writev. bufs belong to it until it is finished.
func (s *Stream) WritevSend(ctx context.Context, bufs ...[]byte) *Request[int64] {
	d := s.wr()
	if err := s.beginWrite(bufs); err != nil {
		return finishedAt[int64](&s.home, 0, err)
	}
	if ctx.Err() != nil {
		n, err := d.stop(ctxError(ctx))
		d.release()
		return finishedAt(&s.home, n, err)
	}
	if s.try != nil {
		if n, err := d.tryNow(); err != errInterrupted {
			d.release()
			return finishedOn(s.lane(1), &s.home, n, err)
		}
	}
	// A write goes on whether somebody waits for it or not.
	r := newRequest(ctx, job[int64](d), true)
	r.settleIn(&s.home)
	r.lane = s.lane(1)
	if r.waitIn(s.sys, true) {
		s.nudgeIfGone()
	} else {
		r.promote()
	}
	r.watchParent()
	return r
}

func (s *Stream) beginWrite(bufs [][]byte) error {
	sum, refused := checkVectors(bufs)
	if refused == nil && sum > s.maxWrite {
		refused = ErrTooLong
	}
	if refused == nil {
		refused = s.word.enter(bitOut, mayWrite)
	}
	if refused != nil {
		return &OpError{Op: "writev", Err: refused}
	}
	if e := s.writeErr.Load(); e != nil {
		s.word.leave(bitOut)
		return &OpError{Op: "writev", Err: e.Err}
	}
	d := s.wr()
	d.vec, d.n = append(d.vec[:0], bufs...), 0
	return nil
}

// run writes until all is written.
func (d *writeSide) run(ctx context.Context) (int64, error) {
	n, err := d.s.ops.Writev(ctx, d.vec)
	d.n += n
	switch {
	case err == nil:
		return d.n, nil
	case interrupted(ctx, err):
		return d.n, errInterrupted
	}
	return d.fail(err)
}

// tryNow writes what there is room for; errInterrupted says that more is left.
func (d *writeSide) tryNow() (int64, error) {
	vec := d.vec
	for {
		n, err := d.s.try.TryWrite(vec)
		d.n += int64(n)
		vec = advance(vec, n)
		switch {
		case err != nil && isErr(err, ErrAgain):
			d.vec = append(d.vec[:0], vec...)
			return d.n, errInterrupted
		case err != nil:
			return d.fail(err)
		case len(vec) == 0:
			return d.n, nil
		}
	}
}

func (d *writeSide) fail(err error) (int64, error) {
	s := d.s
	if s.word.has(bitClosed) {
		return d.n, opError("writev", d.n, ErrClosed)
	}
	e := opError("writev", d.n, err)
	s.fail(e, &s.writeErr)
	return d.n, e
}

// stop ends a write that was interrupted. What was written cannot be taken back.
func (d *writeSide) stop(cause error) (int64, error) {
	e := opError("writev", d.n, cause)
	if d.n > 0 && cause != ErrClosed && CancelRule(d.s.cancelRule.Load()) != CancelLoses {
		e.Poisoned = true
		d.s.writeErr.CompareAndSwap(nil, &OpError{Op: e.Op, Err: ErrPoisoned})
	}
	return d.n, e
}

func (d *writeSide) release() {
	clear(d.vec)
	d.s.word.leave(bitOut)
}
