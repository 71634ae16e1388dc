package tsocket

import (
	"io"
	"syscall"
)

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
	if s.fd != nil && s.ahead() == 0 {
		return s.tryReadFD(b)
	}
	one := [1][]byte{b}
	if err := s.beginRead("read", one[:]); err != nil {
		return 0, err
	}
	n, err := s.rd().trySome()
	if err == errInterrupted {
		if err = errReadAgain; s.try == nil {
			err = opError("read", 0, ErrNotSupported)
		}
	}
	s.rd().release()
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
	d := s.wr()
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
	n, err := s.fd.tryReadOne(b)
	switch {
	case err == nil && n > 0:
		return n, nil
	case err == ErrAgain:
		return 0, errReadAgain
	case err == nil:
		err = io.EOF
	}
	rd := s.rd()
	rd.n = 0
	_, err = rd.fail("read", err)
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
	n, err := s.fd.tryWriteOne(b)
	switch {
	case n > 0:
		return int64(n), nil
	case err == ErrAgain:
		return 0, errWriteAgain
	}
	wr := s.wr()
	wr.n = 0
	return wr.fail(err)
}

// tryReadOne is TryRead of one vector; no bytes and no error are the end.
func (s *fdStream) tryReadOne(b []byte) (int, error) {
	if !s.sys.acquire() {
		return 0, ErrClosed
	}
	defer s.sys.release()
	if s.failEarly.Load() {
		if errno := s.brokenBy(s.sys.fd); errno != 0 {
			return 0, errno
		}
	}
	for {
		n, errno := readOne(s.sys.fd, b)
		if errno == 0 && n == 0 {
			errno = syscall.Errno(s.soError.Load()) // 0: the end
		}
		switch {
		case errno == 0:
			return n, nil
		case judge(errno) == isFinal:
			return 0, errno
		case judge(errno) != tryAgain:
			return 0, ErrAgain
		}
	}
}

// tryWriteOne is TryWrite of one vector.
func (s *fdStream) tryWriteOne(b []byte) (int, error) {
	if !s.sys.acquire() {
		return 0, ErrClosed
	}
	defer s.sys.release()
	for {
		n, errno := writeOne(s.sys.fd, b)
		if e := s.soError.Load(); errno == syscall.EPIPE && e != 0 {
			errno = syscall.Errno(e)
		}
		switch {
		case errno == 0:
			return n, nil
		case judge(errno) == isFinal:
			return 0, errno
		case judge(errno) != tryAgain:
			return 0, ErrAgain
		}
	}
}
