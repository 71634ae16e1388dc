package tsocket

import "io"

// These are what a Try method returns where it would wait, made once.
var (
	errReadAgain      error = &OpError{Op: "read", Err: ErrAgain}
	errWriteAgain     error = &OpError{Op: "writev", Err: ErrAgain}
	errAcceptAgain    error = &OpError{Op: "accept", Err: ErrAgain}
	errRecvAgain      error = &OpError{Op: "recvfrom", Err: ErrAgain}
	errSendAgain      error = &OpError{Op: "sendto", Err: ErrAgain}
	errRecvBatchAgain error = &OpError{Op: "recvbatch", Err: ErrAgain}
	errSendBatchAgain error = &OpError{Op: "sendbatch", Err: ErrAgain}
)

// TryRead is ReadSome that does not wait: where it would, it fails with
// ErrAgain. It is for who waits by other means, as by Loop.Watch, or not at all. A kind of stream without
// TryStreamOps fails with ErrNotSupported.
func (s *Stream) TryRead(b []byte) (int, error) {
	if s.fd != nil && s.rd.ahead.size() == 0 {
		return s.tryReadFD(b)
	}
	one := [1][]byte{b}
	if err := s.beginRead("read", one[:]); err != nil {
		return 0, err
	}
	n, err := s.rd.trySome()
	if err == errInterrupted {
		if err = errReadAgain; s.try == nil {
			err = opError("read", 0, ErrNotSupported)
		}
	}
	s.rd.release()
	return n, err
}

// TryWrite writes what there is room for, which may be less than all of bufs, and
// returns how much that was; ErrAgain if there is no room at all. Otherwise it fails as
// Writev does, and with ErrNotSupported for a kind of stream without TryStreamOps.
func (s *Stream) TryWrite(bufs ...[]byte) (int64, error) {
	if s.try == nil {
		return 0, opError("writev", 0, ErrNotSupported)
	}
	if s.fd != nil && len(bufs) == 1 && len(bufs[0]) > 0 {
		return s.tryWriteFD(bufs[0])
	}
	if err := s.beginWrite(bufs); err != nil {
		return 0, err
	}
	d := &s.wr
	n, err := s.try.TryWrite(d.vec)
	switch d.n = int64(n); {
	case err == nil:
	case isErr(err, ErrAgain):
		err = errWriteAgain
	default:
		_, err = d.fail(err)
	}
	d.release()
	return d.n, err
}

// tryReadFD is TryRead of a descriptor, with as little as possible around the system
// call: a server makes it for each message.
func (s *Stream) tryReadFD(b []byte) (int, error) {
	refused := ErrInvalid
	if len(b) > 0 {
		refused = s.word.enter(bitIn, mayRead)
	}
	if refused != nil {
		return 0, opError("read", 0, refused)
	}
	defer s.word.leave(bitIn)
	if e := s.readErr.Load(); e != nil {
		return 0, opError("read", 0, e.Err)
	}
	n, err := s.fd.tryOne(&s.fd.rd, b)
	switch {
	case err == nil && n > 0:
		return n, nil
	case err == ErrAgain:
		return 0, errReadAgain
	case err == nil:
		err = io.EOF
	}
	s.rd.n = 0
	_, err = s.rd.fail("read", err)
	return 0, err
}

// tryWriteFD is TryWrite of one vector to a descriptor.
func (s *Stream) tryWriteFD(b []byte) (int64, error) {
	if refused := s.word.enter(bitOut, mayWrite); refused != nil {
		return 0, opError("writev", 0, refused)
	}
	defer s.word.leave(bitOut)
	if e := s.writeErr.Load(); e != nil {
		return 0, opError("writev", 0, e.Err)
	}
	n, err := s.fd.tryOne(&s.fd.wr, b)
	switch {
	case n > 0:
		return int64(n), nil
	case err == ErrAgain:
		return 0, errWriteAgain
	}
	s.wr.n = 0
	return s.wr.fail(err)
}

// tryOne makes the call of x once, with one vector.
func (s *fdStream) tryOne(x *fdXfer, b []byte) (int, error) {
	x.own = append(x.own[:0], b)
	x.bufs, x.n, x.errno, x.waits = x.own, 0, 0, false
	done, err := x.op.now()
	n, errno := x.n, x.errno
	x.drop()
	switch {
	case err != nil:
		return 0, err
	case n > 0: // an error after it comes again
		return int(n), nil
	case !done || judge(errno) == waitMemory:
		return 0, ErrAgain
	case errno != 0:
		return 0, errno
	}
	return 0, nil
}
