package tsocket

import "context"

// NextVector is asked, again and again, for the vectors to read next; all of them
// are filled before it is asked again. No vectors mean that the PDU is complete. It may look at
// s (PendingBytes), but not read from it. The vectors' memory is its own affair; it should check
// a length against its limit before it allocates. Its error is the OpError's Err.
type NextVector func(s *Stream) ([][]byte, error)

// ReadPDU reads what next asks for and returns how many bytes that was: 0 if it
// asked for nothing at all. The read slot is held until the PDU is complete. The errors
// are those of Readv and of next; ErrInvalid for vectors without room. After an
// error N bytes of the PDU have been read; the next read goes on behind them. Where they
// were read in vain because the request was stopped, SetCancelRule counts (CancelRestores
// only for the vectors that were being filled).
func (s *Stream) ReadPDU(ctx context.Context, next NextVector) (int64, error) {
	if err := s.enterRead("read pdu"); err != nil {
		return 0, err
	}
	j := pduJob{d: s.rd(), next: next}
	n, err := j.run(ctx)
	if err == errInterrupted {
		n, err = j.stop(ctxError(ctx))
	}
	j.release()
	return n, err
}

// ReadPDUSend starts a ReadPDU. next is called on the goroutine that makes the
// call, on that which waits for the request, or on one of the request.
func (s *Stream) ReadPDUSend(ctx context.Context, next NextVector) *Request[int64] {
	if err := s.enterRead("read pdu"); err != nil {
		return finishedAt[int64](&s.home, 0, err)
	}
	return sendRead(ctx, s, &pduJob{d: s.rd(), next: next})
}

// A tryJob is a read that can be tried without waiting: errInterrupted says that
// there is more to come.
type tryJob[T any] interface {
	job[T]
	try() (T, error)
}

// sendRead starts a read that holds the slot.
func sendRead[T any](ctx context.Context, s *Stream, j tryJob[T]) *Request[T] {
	if ctx.Err() != nil {
		v, err := j.stop(ctxError(ctx))
		j.release()
		return finishedAt(&s.home, v, err)
	}
	if s.tryFirst.Load() && s.rd().worthTrying() {
		if v, err := j.try(); err != errInterrupted {
			s.rd().vain = 0
			j.release()
			return finishedOn(s.lane(0), &s.home, v, err)
		}
	}
	r := newRequest(ctx, job[T](j), true)
	r.settleIn(&s.home)
	r.lane = s.lane(0)
	if r.waitIn(s.sys, false) {
		r.watchParent()
	} else {
		s.launch(r, r.watchParent)
	}
	return r
}

// enterRead takes the slot for a read whose vectors are not known yet.
func (s *Stream) enterRead(op string) error {
	err := s.enterAhead(op)
	if err == nil {
		s.rd().set(nil)
	}
	return err
}

// enterAhead takes the slot for a read that has no vectors.
func (s *Stream) enterAhead(op string) error {
	if refused := s.word.enter(bitIn, mayRead); refused != nil {
		return &OpError{Op: op, Err: refused}
	}
	if e := s.stickyRead(); e != nil {
		s.word.leave(bitIn)
		return &OpError{Op: op, Err: e.Err}
	}
	return nil
}

// pduJob is a PDU that is being read.
type pduJob struct {
	d     *readSide
	next  NextVector
	total int64 // of the vectors that are full
	busy  bool  // vectors are being filled
}

func (j *pduJob) run(ctx context.Context) (int64, error) {
	return j.loop(func() (int64, error) { return j.d.run(ctx) })
}

func (j *pduJob) try() (int64, error) { return j.loop(j.d.tryNow) }

func (j *pduJob) loop(fill func() (int64, error)) (int64, error) {
	for {
		if !j.busy {
			vec, err := j.next(j.d.s)
			if err == nil && len(vec) > 0 {
				if _, refused := checkVectors(vec); refused != nil {
					err = refused
				}
			}
			if err != nil {
				return j.total, opError("read pdu", j.total, err)
			}
			if len(vec) == 0 {
				return j.total, nil
			}
			j.d.set(vec)
			j.busy = true
		}
		n, err := fill()
		if err == errInterrupted {
			return j.total + n, err
		}
		if err != nil {
			return j.total + n, j.adjust(err)
		}
		j.busy = false
		j.total += n
		j.d.set(nil)
	}
}

// adjust makes the error of one read that of the PDU.
func (j *pduJob) adjust(err error) error { return wider(err, "read pdu", j.total) }

// wider returns the error of a read as that of an operation that had read n
// bytes before it.
func wider(err error, op string, n int64) error {
	e, ok := err.(*OpError)
	if !ok {
		return err
	}
	c := *e
	c.Op, c.N = op, c.N+n
	if c.Err == ErrEOF && n > 0 {
		c.Err = ErrUnexpectedEOF
	}
	return &c
}

func (j *pduJob) stop(cause error) (int64, error) {
	n, err := j.d.stopAfter(j.total, cause)
	return n, wider(err, "read pdu", 0)
}

func (j *pduJob) release() { j.d.release() }
