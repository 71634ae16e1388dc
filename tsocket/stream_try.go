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
// call: a server makes it for each message. Nothing here can panic, so that there are no
// defers.
func (s *Stream) tryReadFD(b []byte) (int, error) {
	refused := ErrInvalid
	if len(b) > 0 {
		refused = s.word.enter(bitIn, mayRead)
	}
	if refused != nil {
		return 0, opError("read", 0, refused)
	}
	if s.readErr.Load() == nil && s.sys.acquire() {
		n, errno := s.fd.tryReadOne(b)
		s.sys.release()
		switch {
		case n > 0:
			s.word.leave(bitIn)
			return n, nil
		case errno == syscall.EAGAIN:
			s.word.leave(bitIn)
			return 0, errReadAgain
		case errno == 0:
			return s.endTryRead(io.EOF)
		}
		return s.endTryRead(errno)
	}
	return s.endTryRead(ErrClosed)
}

// endTryRead is the end of a TryRead that failed.
func (s *Stream) endTryRead(err error) (int, error) {
	defer s.word.leave(bitIn)
	if e := s.readErr.Load(); e != nil {
		return 0, opError("read", 0, e.Err)
	}
	d := s.rd()
	d.n = 0
	_, err = d.fail("read", err)
	return 0, err
}

// tryWriteFD is TryWrite of one vector to a descriptor.
func (s *Stream) tryWriteFD(b []byte) (int64, error) {
	if refused := s.word.enter(bitOut, mayWrite); refused != nil {
		return 0, opError("writev", 0, refused)
	}
	if s.writeErr.Load() == nil && s.sys.acquire() {
		n, errno := s.fd.tryWriteOne(b)
		s.sys.release()
		switch {
		case n > 0:
			s.word.leave(bitOut)
			return int64(n), nil
		case errno == syscall.EAGAIN || errno == 0:
			s.word.leave(bitOut)
			return 0, errWriteAgain
		}
		return s.endTryWrite(errno)
	}
	return s.endTryWrite(ErrClosed)
}

// endTryWrite is the end of a TryWrite that failed.
func (s *Stream) endTryWrite(err error) (int64, error) {
	defer s.word.leave(bitOut)
	if e := s.writeErr.Load(); e != nil {
		return 0, opError("writev", 0, e.Err)
	}
	d := s.wr()
	d.n = 0
	return d.fail(err)
}

// tryReadOne is TryRead of one vector: EAGAIN where it would wait; no bytes and no error are the
// end. The caller holds a reference, and the slot.
func (s *fdStream) tryReadOne(b []byte) (int, syscall.Errno) {
	if s.failEarly.Load() {
		if errno := s.brokenBy(s.sys.fd); errno != 0 {
			return 0, errno
		}
	}
	for {
		n, errno := readOne(s.sys.fd, b)
		if n > 0 {
			return n, 0
		}
		if errno = tried(errno); errno != syscall.EINTR {
			return 0, s.note(errno) // 0: the end
		}
	}
}

// tryWriteOne is TryWrite of one vector.
func (s *fdStream) tryWriteOne(b []byte) (int, syscall.Errno) {
	for {
		n, errno := writeOne(s.sys.fd, b)
		if n > 0 {
			return n, 0
		}
		if errno = tried(errno); errno != syscall.EINTR {
			return 0, s.note(errno)
		}
	}
}

// tried returns EAGAIN for each errno that says to wait, whatever for, and others as they are.
func tried(errno syscall.Errno) syscall.Errno {
	if v := judge(errno); v == waitReady || v == waitMemory {
		return syscall.EAGAIN
	}
	return errno
}
