package tsocket

import "context"

// ReadSome reads at least one byte into b, and no more than is there; what
// Read does for an io.Reader. Its errors are those of Readv; it never fails half done.
func (s *Stream) ReadSome(ctx context.Context, b []byte) (int, error) {
	one := [1][]byte{b}
	if err := s.beginRead("read", one[:]); err != nil {
		return 0, err
	}
	n, err := s.rd().some(ctx)
	if err == errInterrupted {
		err = opError("read", 0, ctxError(ctx))
	}
	s.rd().release()
	return n, err
}

// ReadSomeSend starts a ReadSome. b belongs to it until it is finished.
func (s *Stream) ReadSomeSend(ctx context.Context, b []byte) *Request[int] {
	one := [1][]byte{b}
	if err := s.beginRead("read", one[:]); err != nil {
		return finishedAt(&s.home, 0, err)
	}
	return sendRead(ctx, s, tryJob[int](someJob{s.rd()}))
}

// some reads what is there.
func (d *readSide) some(ctx context.Context) (int, error) {
	if n := d.someAhead(); n > 0 {
		return n, nil
	}
	n, err := d.s.ops.ReadSome(ctx, d.vec)
	return d.gotSome(n, err, err != nil && interrupted(ctx, err))
}

// trySome is some that returns errInterrupted where it would wait.
func (d *readSide) trySome() (int, error) {
	if n := d.someAhead(); n > 0 {
		return n, nil
	}
	if d.s.try == nil {
		return 0, errInterrupted
	}
	n, err := d.s.try.TryRead(d.vec)
	return d.gotSome(n, err, err != nil && isErr(err, ErrAgain))
}

// someAhead takes what was read ahead.
func (d *readSide) someAhead() int {
	for _, b := range d.vec {
		if n := d.ahead.read(b); n > 0 {
			return n
		}
	}
	return 0
}

func (d *readSide) gotSome(n int, err error, notYet bool) (int, error) {
	switch {
	case err == nil:
		return n, nil
	case notYet:
		return 0, errInterrupted
	}
	_, err = d.fail("read", err)
	return 0, err
}

// someJob is a ReadSome that is outstanding.
type someJob struct{ d *readSide }

func (j someJob) run(ctx context.Context) (int, error) { return j.d.some(ctx) }
func (j someJob) try() (int, error)                    { return j.d.trySome() }
func (j someJob) stop(cause error) (int, error)        { return 0, opError("read", 0, cause) }
func (j someJob) release()                             { j.d.release() }
