package tsocket

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
)

// Stream is one end of a bidirectional stream of bytes. It owns the rules that
// are the same for every kind of stream; StreamOps is what differs.
//
// One read, one write, one monitor and one disconnect may be outstanding at a
// time, in any mixture and from any goroutines; another one of the same
// direction fails with ErrBusy and disturbs nothing.
type Stream struct {
	ops      StreamOps
	try      TryStreamOps // nil: it cannot
	fd       *fdStream    // nil: it is no descriptor
	sys      *sysfd       // that of fd
	maxWrite int64        // see MaxWriteOps

	word       word
	cancelRule atomic.Int32
	tryFirst   atomic.Bool
	halfOpen   atomic.Bool
	unwatched  atomic.Bool // MonitorOps could not watch the connection
	home       home

	readErr, writeErr atomic.Pointer[OpError] // the sticky errors

	// These are made when they are first needed: of many idle streams of a server, which are
	// read with TryRead, neither is.
	atSides    atomic.Pointer[sides]
	atRequests atomic.Pointer[requests]
}

// sides are the operations that are outstanding.
type sides struct {
	rd readSide
	wr writeSide
}

// requests are what a stream needs for requests.
type requests struct {
	lanes [2]lane // see lane

	mu      sync.Mutex    // guards the fields below; nothing is called under it
	parked  parkedRequest // the read request that nobody runs yet
	monitor parkedRequest // the outstanding monitor
}

// parkedRequest is a *Request of any type.
type parkedRequest interface {
	task
	halt(cause error) bool
	promote()
}

// NewStream makes a stream of ops.
func NewStream(ops StreamOps) *Stream {
	s := &Stream{}
	s.init(ops)
	return s
}

func (s *Stream) init(ops StreamOps) {
	s.ops = ops
	s.try, _ = ops.(TryStreamOps)
	if s.fd, _ = ops.(*fdStream); s.fd != nil {
		s.sys = &s.fd.sys
	}
	s.maxWrite = noLimit
	if m, ok := ops.(MaxWriteOps); ok {
		s.maxWrite = m.MaxWrite()
	}
	s.tryFirst.Store(true)
}

// sides returns the operations.
func (s *Stream) sides() *sides {
	if both := s.atSides.Load(); both != nil {
		return both
	}
	both := &sides{}
	both.rd.s, both.wr.s = s, s
	if !s.atSides.CompareAndSwap(nil, both) {
		return s.atSides.Load()
	}
	return both
}

func (s *Stream) rd() *readSide  { return &s.sides().rd }
func (s *Stream) wr() *writeSide { return &s.sides().wr }

// ahead returns how many bytes were read ahead.
func (s *Stream) ahead() int {
	if both := s.atSides.Load(); both != nil {
		return both.rd.ahead.size()
	}
	return 0
}

// requests returns what requests need.
func (s *Stream) requests() *requests {
	for {
		if r := s.atRequests.Load(); r != nil {
			return r
		}
		s.atRequests.CompareAndSwap(nil, new(requests))
	}
}

// Ops returns what the stream was made of, for who knows its kind.
func (s *Stream) Ops() StreamOps { return s.ops }

// LocalAddr returns the local address, the zero Addr if there is none.
func (s *Stream) LocalAddr() Addr {
	if a, ok := s.ops.(AddrOps); ok {
		return a.LocalAddr()
	}
	return Addr{}
}

// RemoteAddr returns the peer's address, the zero Addr if there is none.
func (s *Stream) RemoteAddr() Addr {
	if a, ok := s.ops.(AddrOps); ok {
		return a.RemoteAddr()
	}
	return Addr{}
}

// SetTryFirst says whether a ...Send tries the system call at once, before it
// leaves the operation to a goroutine. It returns what was set before. It is on unless
// switched off; C's tstream_bsd_optimize_readv is off unless switched on, and about reads
// only. Writes are always tried.
func (s *Stream) SetTryFirst(on bool) bool { return s.tryFirst.Swap(on) }

// SetHalfOpen says whether each direction lives on when the other one has
// ended. It returns what was set before.
//
// Off, as in C: the first error of the stream, and that is also the end of what
// the peer writes, is the error of every later operation in either direction; a
// write that waits fails with ECONNRESET as soon as the peer has finished writing. On, as package
// net has it: a direction fails for its own errors only. CloseWrite works either way.
func (s *Stream) SetHalfOpen(on bool) bool {
	if f, ok := s.ops.(HalfOpenOps); ok {
		f.SetHalfOpen(on)
	}
	return s.halfOpen.Swap(on)
}

// SetFailEarly says whether a read fails as soon as the peer has finished
// writing or the connection is broken, though there are bytes left to read. It
// returns what was set before. It is about streams of descriptors; others ignore it.
func (s *Stream) SetFailEarly(on bool) bool {
	if f, ok := s.ops.(interface{ setFailEarly(bool) bool }); ok {
		return f.setFailEarly(on)
	}
	return false
}

// CancelRule says what becomes of a direction when an operation that has moved
// some of its bytes is stopped by Cancel, a deadline or a context.
type CancelRule int32

const (
	// CancelPoisons: the operation fails with an OpError that says how many bytes
	// were moved, and every later one of that direction with ErrPoisoned, for nobody
	// knows where the next message begins.
	CancelPoisons CancelRule = iota
	// CancelRestores: what a read has got goes back into the stream, so that the
	// next one begins where this one began. Writes are as with CancelPoisons.
	CancelRestores
	// CancelLoses: the direction goes on after the bytes that were moved, as in
	// C. Only the OpError's N tells of them.
	CancelLoses
)

// SetCancelRule says what becomes of a half-done operation that is stopped. It
// returns what was set before, at first CancelPoisons.
func (s *Stream) SetCancelRule(r CancelRule) CancelRule {
	return CancelRule(s.cancelRule.Swap(int32(r)))
}

// PendingBytes returns how many bytes can be read without waiting. If there are
// none it looks whether there will be any: it fails with ENOTCONN after a disconnect,
// with ECONNRESET when the peer has finished writing, with EPIPE after a hang-up, with
// the error of the socket otherwise. As in C that error is then the error of the
// whole stream, unless SetHalfOpen is on.
func (s *Stream) PendingBytes() (int, error) {
	const op = "pending bytes"
	switch v := s.word.v.Load(); {
	case v&bitClosed != 0:
		return 0, &OpError{Op: op, Err: ErrClosed}
	case v&bitDisconnected != 0:
		return 0, &OpError{Op: op, Err: ErrNotConnected}
	}
	ahead := s.ahead()
	if e := s.readErr.Load(); e != nil && ahead == 0 {
		return 0, &OpError{Op: op, Err: e.Err}
	}
	n, err := s.ops.Pending()
	switch {
	case err == nil || ahead > 0:
		return n + ahead, nil
	case s.word.has(bitClosed | bitDisconnecting | bitDisconnected):
		return 0, &OpError{Op: op, Err: ErrNotConnected}
	}
	e := &OpError{Op: op, Err: err}
	if !s.halfOpen.Load() {
		s.fail(e, &s.readErr)
	}
	return 0, e
}

// fail remembers the first error of the stream: of one direction, where each is
// on its own, or of both.
func (s *Stream) fail(e *OpError, side *atomic.Pointer[OpError]) {
	side.CompareAndSwap(nil, e)
	if !s.halfOpen.Load() {
		s.readErr.CompareAndSwap(nil, e)
		s.writeErr.CompareAndSwap(nil, &OpError{Op: e.Op, Err: plainErrno(e.Err)})
	}
	if _, ok := s.ops.(MonitorOps); !ok || s.unwatched.Load() || e.Err != ErrEOF && e.Err != ErrUnexpectedEOF {
		s.tellMonitor(e.Err)
	} // else its own event comes, and says what it always says
}

// plainErrno takes the names for the end of a read from an error that is to
// be the error of writes.
func plainErrno(err error) error {
	if err == ErrEOF || err == ErrUnexpectedEOF {
		return syscall.EPIPE
	}
	return err
}

// Close frees the stream at once. Whatever is outstanding fails with ErrClosed, and
// so does whatever comes later; further calls do nothing. (C: talloc_free of the
// stream, which leaves the waiters waiting.)
func (s *Stream) Close() error {
	v := s.word.v.Or(bitClosed)
	if v&bitClosed != 0 {
		return nil
	}
	s.home.leave(s)
	var err error
	if v&bitDisconnected == 0 {
		if err = s.ops.Close(); err != nil {
			err = &OpError{Op: "close", Err: err}
		}
	}
	if q := s.atRequests.Load(); q != nil {
		q.mu.Lock()
		parked := q.parked
		q.mu.Unlock()
		if parked != nil {
			parked.halt(ErrClosed)
		}
	}
	s.tellMonitor(ErrClosed)
	return err
}

// lane returns what runs the requests of reads (0) or writes (1).
func (s *Stream) lane(i int) *lane { return &s.requests().lanes[i] }

// park remembers a read request that nobody runs yet, and sees to it that
// somebody does.
func (s *Stream) park(r parkedRequest) {
	s.rd().parked = true
	q := s.requests()
	q.mu.Lock()
	q.parked = r
	q.mu.Unlock()
	if s.word.has(bitClosed) {
		r.halt(ErrClosed)
		return
	}
	s.lane(0).start(r)
}

func (s *Stream) unpark() {
	q := s.requests()
	q.mu.Lock()
	q.parked = nil
	q.mu.Unlock()
}

// opError names an error of ops.
func opError(op string, n int64, err error) *OpError {
	return &OpError{Op: op, N: n, Err: err}
}

// interrupted reports whether err only says that ctx has ended.
func interrupted(ctx context.Context, err error) bool {
	if err == errInterrupted {
		return true
	}
	end := ctx.Err()
	return end != nil && isErr(err, end)
}
