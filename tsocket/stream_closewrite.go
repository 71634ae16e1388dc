package tsocket

import "context"

// CloseWrite tells the peer that nothing more will be written, while reading
// goes on. The OpError's Err is as that of Writev; ErrNotSupported if this kind of stream
// has no such thing. C has none at all. Later writes fail with ErrWriteClosed.
func (s *Stream) CloseWrite(ctx context.Context) error {
	j, err := s.beginCloseWrite()
	if err != nil {
		return err
	}
	_, err = j.run(ctx)
	if err == errInterrupted {
		_, err = j.stop(ctxError(ctx))
	}
	j.release()
	return err
}

// CloseWriteSend starts a CloseWrite.
func (s *Stream) CloseWriteSend(ctx context.Context) *Request[struct{}] {
	j, err := s.beginCloseWrite()
	if err != nil {
		return finishedAt(&s.home, struct{}{}, err)
	}
	if s.try != nil { // such a stream does not wait to do it
		if _, err := j.run(ctx); err != errInterrupted {
			j.release()
			return finishedAt(&s.home, struct{}{}, err)
		}
	}
	r := newRequest(ctx, job[struct{}](j), true)
	r.settleIn(&s.home)
	r.promote()
	r.watchParent()
	return r
}

func (s *Stream) beginCloseWrite() (closeWriteJob, error) {
	const op = "close write"
	j := closeWriteJob{s}
	if _, ok := s.ops.(CloseWriteOps); !ok {
		return j, &OpError{Op: op, Err: ErrNotSupported}
	}
	if err := s.word.enter(bitOut, mayWrite); err != nil {
		return j, &OpError{Op: op, Err: err}
	}
	if e := s.writeErr.Load(); e != nil {
		s.word.leave(bitOut)
		return j, &OpError{Op: op, Err: e.Err}
	}
	return j, nil
}

type closeWriteJob struct{ s *Stream }

func (j closeWriteJob) run(ctx context.Context) (struct{}, error) {
	s := j.s
	err := s.ops.(CloseWriteOps).CloseWrite(ctx)
	switch {
	case err == nil:
		s.writeErr.CompareAndSwap(nil, &OpError{Op: "close write", Err: ErrWriteClosed})
		return struct{}{}, nil
	case s.word.has(bitClosed):
		err = ErrClosed
	case interrupted(ctx, err):
		return struct{}{}, errInterrupted
	}
	return j.stop(err)
}

func (j closeWriteJob) stop(cause error) (struct{}, error) {
	return struct{}{}, &OpError{Op: "close write", Err: cause}
}

func (j closeWriteJob) release() { j.s.word.leave(bitOut) }
