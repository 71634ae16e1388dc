package tsocket

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fdStream is the stream of a descriptor: TCP, unix, a pipe.
type fdStream struct {
	sys   sysfd
	names *names // nil: it has none

	// The transfers are made when they are first needed: who only tries with one vector needs none.
	rd, wr atomic.Pointer[fdXfer]

	// What Stream.SetHalfOpen and Stream.SetFailEarly say.
	halfOpen, failEarly atomic.Bool

	// soError is the error of the socket that somebody has taken off it.
	soError atomic.Uint32
	asking  atomic.Int64 // how many hold a reference and make no call: they wait in brokenAfterAll, or are SyscallFD's

	hangup hangupWatch
}

// names are the addresses of a connection. Streams whose addresses are the same may share
// them: nobody changes them.
type names struct{ local, remote Addr }

// fdXfer is the transfer of one direction.
type fdXfer struct {
	op    fdOp
	bufs  [][]byte
	n     int64
	errno syscall.Errno
	own   [][]byte // of a write, which advances through them
	iov   []unix.Iovec
	waits bool        // it is to wait, and not only to try
	calls atomic.Bool // a system call is under way, or what it said is not yet noted
}

func (x *fdXfer) take(bufs [][]byte, waits bool) {
	x.own = append(x.own[:0], bufs...)
	x.bufs, x.n, x.errno, x.waits = x.own, 0, 0, waits
}

func (x *fdXfer) drop() {
	clear(x.own)
	x.bufs = nil
}

// newFDStream makes the stream of a descriptor, in one piece: a server has many.
func newFDStream(fd int, n *names) *Stream {
	both := &struct {
		Stream
		fd fdStream
	}{}
	both.fd.sys.fd, both.fd.names = fd, n
	both.init(&both.fd)
	return &both.Stream
}

// reading and writing return the transfer of a direction to whoever has its slot.

func (s *fdStream) reading() *fdXfer {
	if x := s.rd.Load(); x != nil {
		return x
	}
	x := &fdXfer{}
	x.op.init(&s.sys, false, s.tryRead)
	return s.keep(&s.rd, x)
}

func (s *fdStream) writing() *fdXfer {
	if x := s.wr.Load(); x != nil {
		return x
	}
	x := &fdXfer{}
	x.op.init(&s.sys, true, s.tryWrite)
	return s.keep(&s.wr, x)
}

func (s *fdStream) keep(at *atomic.Pointer[fdXfer], x *fdXfer) *fdXfer {
	at.Store(x)
	if s.sys.closing() { // and Close may have looked before
		x.op.arm.close()
	}
	return x
}

func (s *fdStream) LocalAddr() Addr {
	if s.names == nil {
		return Addr{}
	}
	return s.names.local
}

func (s *fdStream) RemoteAddr() Addr {
	if s.names == nil {
		return Addr{}
	}
	return s.names.remote
}

// SetHalfOpen says whether a write goes on waiting when the peer has finished writing.
func (s *fdStream) SetHalfOpen(on bool) { s.halfOpen.Store(on) }

func (s *fdStream) setFailEarly(on bool) bool { return s.failEarly.Swap(on) }

// What to do about the errno of a transfer.
type verdict uint8

const (
	isFinal verdict = iota
	tryAgain
	waitReady
	waitMemory // the kernel is short of memory: ready for the poller, but not yet
)

func judge(errno syscall.Errno) verdict {
	switch errno {
	case syscall.EINTR:
		return tryAgain
	case syscall.EAGAIN, syscall.EINPROGRESS:
		return waitReady
	case syscall.ENOMEM:
		return waitMemory
	}
	return isFinal
}

// memoryPause is how long a transfer waits that the kernel had no memory for.
const memoryPause = 2 * time.Millisecond

// tryRead reads once; false: it would wait.
func (s *fdStream) tryRead(fd int) bool {
	x := s.reading()
	x.calls.Store(true)
	defer x.calls.Store(false)
	for {
		if s.failEarly.Load() {
			if x.errno = s.brokenBy(fd); x.errno != 0 {
				return true
			}
		}
		n, errno := readv(fd, x.bufs)
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady:
			return false
		}
		if n == 0 {
			errno = s.note(errno) // 0: the end
		}
		x.n, x.errno = int64(n), errno
		return true
	}
}

// tryWrite writes until all is written; false: it would wait.
func (s *fdStream) tryWrite(fd int) bool {
	x := s.writing()
	x.calls.Store(true)
	defer x.calls.Store(false)
	for {
		n, errno := writev(fd, x)
		switch judge(errno) {
		case tryAgain:
			continue
		case waitReady:
			if x.waits && s.watchWrite(fd) {
				if x.errno = s.brokenBy(fd); x.errno == 0 {
					x.errno = syscall.EPIPE
				}
				return true
			}
			return false
		}
		if errno != 0 {
			x.errno = s.note(errno)
			return true
		}
		x.errno = 0
		x.n += int64(n)
		if x.bufs = advance(x.bufs, n); len(x.bufs) == 0 {
			return true
		}
	}
}

// advance takes n bytes and empty vectors from the front of bufs, in place.
func advance(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs[0] = nil
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// ReadSome reads what is there.
func (s *fdStream) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	x := s.reading()
	x.bufs, x.n, x.errno = bufs, 0, 0
	err := s.transfer(ctx, x)
	x.bufs = nil
	switch {
	case err != nil:
		return 0, err
	case x.n == 0:
		return 0, io.EOF
	}
	return int(x.n), nil
}

// Writev writes all.
func (s *fdStream) Writev(ctx context.Context, bufs [][]byte) (int64, error) {
	x := s.writing()
	x.take(bufs, true)
	err := s.transfer(ctx, x)
	x.drop()
	return x.n, err
}

// transfer runs x until it is done or ctx ends.
func (s *fdStream) transfer(ctx context.Context, x *fdXfer) error {
	for {
		err := x.op.run(ctx)
		switch {
		case err == nil && x.errno == 0:
			return nil
		case err == nil && judge(x.errno) == waitMemory:
			x.errno = 0
			pause(ctx, memoryPause)
		case err == nil:
			return x.errno
		case err != errInterrupted:
			return err
		case ctx.Err() != nil:
			return errInterrupted
		case x.op.write && s.hangup.seen():
			return s.brokenErrno()
		}
		// The interruption was meant for an operation before this one.
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// TryRead reads what is there, or returns ErrAgain.
func (s *fdStream) TryRead(bufs [][]byte) (int, error) {
	x := s.reading()
	x.bufs, x.n, x.errno = bufs, 0, 0
	done, err := x.op.now()
	x.bufs = nil
	switch {
	case err != nil:
		return 0, err
	case !done || judge(x.errno) == waitMemory:
		return 0, ErrAgain
	case x.errno != 0:
		return 0, x.errno
	case x.n == 0:
		return 0, io.EOF
	}
	return int(x.n), nil
}

// TryWrite writes what there is room for, or returns ErrAgain.
func (s *fdStream) TryWrite(bufs [][]byte) (int, error) {
	x := s.writing()
	x.take(bufs, false)
	_, err := x.op.now()
	x.drop()
	switch {
	case err != nil:
		return 0, err
	case x.n > 0: // an error after it comes again
		return int(x.n), nil
	case x.errno == 0 || judge(x.errno) == waitMemory:
		return 0, ErrAgain
	}
	return 0, x.errno
}

// Pending returns how many bytes the kernel holds; if none, why there will be
// no more, if so.
func (s *fdStream) Pending() (int, error) {
	n := 0
	err := s.sys.control(func(fd int) (err error) {
		if n, err = queued(fd); err != nil || n > 0 {
			return err
		}
		if errno := s.brokenAfterAll(fd); errno != 0 {
			return errno
		}
		return nil
	})
	return n, err
}

// brokenErrno returns why the connection is broken. The caller makes no call of the stream.
func (s *fdStream) brokenErrno() error {
	err := error(syscall.EPIPE)
	if cerr := s.sys.control(func(fd int) error {
		if errno := s.brokenAfterAll(fd); errno != 0 {
			err = errno
		}
		return nil
	}); cerr != nil {
		return cerr
	}
	return err
}

// brokenAfterAll is brokenBy for who holds one reference and makes no call: where the socket
// says no reason, a call that is under way may have taken it and is about to note it.
func (s *fdStream) brokenAfterAll(fd int) syscall.Errno {
	errno := s.brokenBy(fd)
	if errno != syscall.EPIPE || s.soError.Load() != 0 {
		return errno
	}
	s.asking.Add(1)
	for s.calling() {
		runtime.Gosched() // no call waits
	}
	s.asking.Add(-1)
	if e := s.soError.Load(); e != 0 {
		return syscall.Errno(e)
	}
	return errno
}

// calling reports whether a call may be under way: it is marked as one, or holds a reference and is not
// one of asking.
func (s *fdStream) calling() bool {
	if s.sys.refs.Load()&^closedBit > s.asking.Load() {
		return true
	}
	for _, at := range [...]*atomic.Pointer[fdXfer]{&s.rd, &s.wr} {
		if x := at.Load(); x != nil && x.calls.Load() {
			return true
		}
	}
	return false
}

// note keeps the error that a call has taken off the socket for whoever comes next, and
// returns it, or for the end of the stream the error that was taken before, if any.
func (s *fdStream) note(errno syscall.Errno) syscall.Errno {
	switch errno {
	case 0, syscall.EPIPE:
		if e := s.soError.Load(); e != 0 {
			return syscall.Errno(e)
		}
	case syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS: // of the call, not of the socket
	default:
		s.soError.CompareAndSwap(0, uint32(errno))
	}
	return errno
}

// brokenBy returns why the connection is broken, 0 if it is not: the error of
// the socket, EPIPE after a hang-up, ECONNRESET when the peer has finished writing. The kernel
// tells an error once; it is kept for whoever reads or writes next.
func (s *fdStream) brokenBy(fd int) syscall.Errno {
	errno, soError := brokenBy(fd)
	switch {
	case soError != 0:
		s.soError.CompareAndSwap(0, uint32(soError))
	case errno != 0 && s.soError.Load() != 0:
		return syscall.Errno(s.soError.Load())
	}
	return errno
}

// Disconnect closes the descriptor: that is all that C does.
func (s *fdStream) Disconnect(context.Context) error { return s.Close() }

// Close closes the descriptor.
func (s *fdStream) Close() error {
	s.hangup.forget(s)
	s.sys.close()
	s.hangup.forgetClosed()
	for _, at := range [...]*atomic.Pointer[fdXfer]{&s.rd, &s.wr} {
		if x := at.Load(); x != nil {
			x.op.arm.close()
		}
	}
	return nil
}

// CloseWrite sends the end of the stream.
func (s *fdStream) CloseWrite(context.Context) error {
	return s.sys.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}
