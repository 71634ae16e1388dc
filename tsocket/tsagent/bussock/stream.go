package bussock

import (
	"context"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// stream is one end of a stream: the ops of a tsocket.Stream.
type stream struct {
	n   *Node
	num uint32 // its own number
	up  *life

	readable, writable chan struct{} // of one: something has changed for who waits
	coalesceFn         func()        // bound once: a go statement with a method allocates
	carryOnFn          func()

	mu      sync.Mutex // guards what follows; the carrier is not called under it
	peer    uint32     // port id of the other end; 0: not connected yet
	peerNum uint32     // number of the stream there
	cred    connector.Cred
	isReady bool      // the other end knows this one: it may be sent to
	backlog *Listener // that it waits at to be accepted

	rejectedBy *Listener // it was over before the other end knew, which is told so when it does

	greeting *time.Timer // until the other end must have said that it knows; guarded by the listener

	broken   error // why it is over for both directions; what has arrived can be read still
	closed   bool  // by this end
	halfOpen bool
	monitor  func(error)

	in  inbound
	out outbound
}

func newStream(n *Node) *stream {
	s := &stream{n: n, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
	s.coalesceFn, s.carryOnFn = s.coalesce, s.carryOn
	return s
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// connected notes who is at the other end.
func (s *stream) connected(port, number uint32, cred connector.Cred) {
	s.mu.Lock()
	s.peer, s.peerNum, s.cred = port, number, cred
	s.mu.Unlock()
	s.n.join(s)
}

// happened takes in a message of the other end; false if it is not of that.
func (s *stream) happened(port, number uint32, h header, body []byte) bool {
	s.mu.Lock()
	if s.peer != port || s.peerNum != number || port == 0 {
		s.mu.Unlock()
		return false
	}
	if s.broken != nil {
		s.known(h.op)
		s.mu.Unlock()
		return true
	}
	var wrong string
	var listener *Listener
	switch h.op {
	case opData:
		wrong = s.arrived(h, body)
	case opWindow:
		wrong = s.granted(h.arg, len(body))
		if wrong == "" && !s.isReady {
			s.isReady = true
			listener = s.backlog
			s.backlog = nil
		}
		s.kick(true)
	case opReset:
		if !s.in.gone { // otherwise it has said goodbye already
			s.failLocked(resetError(h, body), false)
		}
	}
	if wrong != "" {
		s.n.count.violations.Add(1)
		s.n.cfg.Logger.Debug("a stream was reset because of its peer", "peer", port, "stream", s.num, "why", wrong)
		s.failLocked(&Error{Errno: syscall.EPROTO, Text: "the peer broke the protocol: " + wrong}, true)
	}
	tell := s.news()
	s.mu.Unlock()
	if listener != nil {
		listener.ready(s)
	}
	tell()
	return true
}

// news returns the call of the monitor that is due. s.mu is held; the call is made without.
func (s *stream) news() func() {
	err := s.end()
	if err == nil || s.monitor == nil {
		return nothing
	}
	broken := s.monitor
	s.monitor = nil
	return func() { broken(err) }
}

func nothing() {}

// end is why the connection is no longer what it was, nil if it is. s.mu is held.
func (s *stream) end() error {
	switch {
	case s.broken != nil:
		return s.broken
	case s.in.gone:
		return syscall.EPIPE
	case s.in.eof:
		return syscall.ECONNRESET
	}
	return nil
}

// fail ends the stream. With tell the other end is told.
func (s *stream) fail(why *Error, tell bool) {
	s.mu.Lock()
	s.failLocked(why, tell)
	news := s.news()
	s.mu.Unlock()
	news()
}

func (s *stream) failLocked(why *Error, tell bool) {
	if s.broken != nil {
		s.letGo() // there is nobody to be told
		return
	}
	s.broken = why
	if s.backlog != nil {
		s.backlog.forget(s)
		s.backlog = nil
	}
	s.out.drop()
	if s.in.gone || !s.isReady {
		tell = false
	}
	if tell {
		s.out.reset = why
		s.kick(true)
	}
	s.settle()
	wake(s.readable)
	wake(s.writable)
}

// reject ends a stream that nobody has accepted. An end that does not know of it yet is told when it has said that it does,
// unless that takes too long.
func (s *stream) reject(l *Listener, why *Error) {
	s.mu.Lock()
	if s.broken == nil && !s.isReady {
		s.rejectedBy, s.backlog = l, nil
	}
	s.failLocked(why, true)
	s.mu.Unlock()
	s.shut()
}

// known is told that the other end of a stream that is over has sent something. s.mu is held.
func (s *stream) known(by op) {
	if s.rejectedBy == nil {
		return
	}
	s.isReady = true
	if why, ok := s.broken.(*Error); ok && by != opReset {
		s.out.reset = why
		s.kick(true)
	}
	s.letGo()
}

// letGo ends the wait for the other end of a stream that was rejected. s.mu is held.
func (s *stream) letGo() {
	if l := s.rejectedBy; l != nil {
		s.rejectedBy = nil
		l.forget(s)
		s.settle()
	}
}

// orphaned is told that the other end's endpoint is no more. One that had said goodbye is not missed.
func (s *stream) orphaned() {
	s.mu.Lock()
	if !s.in.gone {
		s.failLocked(&Error{Errno: syscall.ECONNRESET, Text: peerIsGone}, true)
	}
	news := s.news()
	s.mu.Unlock()
	news()
}

// undelivered is told that a message to the peer did not arrive.
func (s *stream) undelivered(port uint32, why error) {
	s.mu.Lock()
	if s.peer != port || s.in.gone {
		s.mu.Unlock()
		return
	}
	s.failLocked(ofPeer(why), false)
	news := s.news()
	s.mu.Unlock()
	news()
}

// settle takes the stream off the node when nothing of it is to be sent any more. s.mu is held.
func (s *stream) settle() {
	if (s.closed || s.broken != nil) && s.rejectedBy == nil && !s.out.posting && !s.out.scheduled && !s.out.due(s) {
		s.n.forget(s)
	}
}

// LocalAddr returns the address of this end: Addr of the endpoint's port id and the lower half of the stream's number.
func (s *stream) LocalAddr() tsocket.Addr { return Addr(s.n.ep.Port(), uint16(s.num)) }

// RemoteAddr returns the address of the other end.
func (s *stream) RemoteAddr() tsocket.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Addr(s.peer, uint16(s.peerNum))
}

// PeerCred returns who connected or listened, as the bus has it from the kernel.
func (s *stream) PeerCred() (tsocket.Cred, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return tsocket.Cred{}, tsocket.ErrClosed
	}
	return tsocket.Cred{PID: int(s.cred.PID), UID: s.cred.UID, GID: s.cred.GID}, nil
}

// SetHalfOpen implements tsocket.HalfOpenOps.
func (s *stream) SetHalfOpen(on bool) {
	s.mu.Lock()
	s.halfOpen = on
	s.mu.Unlock()
}

// Pending returns how many bytes there are.
func (s *stream) Pending() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.in.ring.n; n > 0 {
		return n, nil
	}
	return 0, s.end()
}

// Monitor implements tsocket.MonitorOps.
func (s *stream) Monitor(broken func(error)) (stop func(), err error) {
	s.mu.Lock()
	s.monitor = broken
	tell := s.news()
	s.mu.Unlock()
	tell()
	return func() {
		s.mu.Lock()
		s.monitor = nil
		s.mu.Unlock()
	}, nil
}

// TryRead reads what is there.
func (s *stream) TryRead(bufs [][]byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, tsocket.ErrClosed
	}
	if n := s.in.ring.take(bufs); n > 0 {
		if s.consumed(n) {
			s.kick(true)
		}
		return n, nil
	}
	switch {
	case s.in.eof:
		return 0, io.EOF
	case s.broken != nil:
		return 0, s.broken
	}
	return 0, tsocket.ErrAgain
}

// ReadSome waits until there is something.
func (s *stream) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n, err := s.TryRead(bufs); err != tsocket.ErrAgain {
			return n, err
		}
		select {
		case <-s.readable:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// CloseWrite ends the writing side, after what was written.
func (s *stream) CloseWrite(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return tsocket.ErrClosed
	case s.broken != nil:
		return s.broken
	}
	s.out.end = true
	s.kick(true)
	return nil
}

// Disconnect is Close: what was written is sent either way.
func (s *stream) Disconnect(context.Context) error { return s.Close() }

// Close ends both directions. What was written is sent still.
func (s *stream) Close() error {
	s.shut()
	return nil
}

func (s *stream) shut() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.in.ring.free()
		s.out.end, s.out.gone = true, true
		s.kick(true)
		s.settle()
	}
	s.mu.Unlock()
	wake(s.readable)
	wake(s.writable)
}
