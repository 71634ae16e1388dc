package tsocket

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
