package tsagent

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

const (
	kindStream = unix.SOCK_STREAM
	kindDgram  = unix.SOCK_DGRAM
)

func familyName(family int) string {
	switch family {
	case unix.AF_INET:
		return "ipv4"
	case unix.AF_INET6:
		return "ipv6"
	case unix.AF_UNIX:
		return "unix"
	}
	return ""
}

// sock is a socket of the agent: first nothing, then a stream, a listener or a datagram socket.
//
// The handler looks at it for one request at a time; a goroutine reads (or receives, or accepts), another
// one writes what could not be written at once, and the owner's pump tells the rest.
type sock struct {
	a            *Agent
	own          *owner
	num          uint32
	family, kind int
	reserved     bool    // it is a place for what will be accepted; guarded by a.mu
	at           portKey // where it is bound; guarded by a.mu
	charged      int     // bytes of its uid's limit; guarded by a.mu
	released     bool    // which were given back

	ctx       context.Context // ends when it is closed
	cancelAll context.CancelFunc
	outCtx    context.Context // of what is written; ends later, see Config.Linger
	stopOut   context.CancelFunc
	wake      chan struct{} // of who reads

	sendMu sync.Mutex // held while an event is sent, so that they are numbered in order
	seq    uint32
	told   bool // it is in the queue of the owner; guarded by own.mu

	bytesIn, bytesOut atomic.Uint64
	sendsPolicyOK     tsocket.Addr // where datagrams may go, as was asked last; of the handler
	stage             []byte       // the beginning of a batch in several messages; of the handler
	stageErr          error        // why the rest of such a batch is refused
	stageLost         int          // bytes of it

	mu            sync.Mutex // guards the fields below
	closed        bool
	local, remote tsocket.Addr
	wanted        tsocket.Addr // what BIND was about, as the policy is asked
	stream        *tsocket.Stream
	dgram         *tsocket.Dgram
	lis           *tsocket.Listener
	bound         bound      // a stream socket between BIND and what it becomes; or nil
	shares        bool       // which has SO_REUSEPORT
	slow          *operation // on a goroutine, see slowly
	connecting    *operation
	monitor       *operation
	hangup        bool // a monitor is set
	in            inSide
	out           outSide
	news          news
	children      map[*sock]struct{} // of a listener: accepted, but the owner has not asked anything of them yet
	parent        *sock
}

// inSide is what is read, received or accepted.
type inSide struct {
	credit  int64 // bytes or sockets that the owner takes unasked
	pushing bool  // it was given any
	op      *operation
	want    int // of op
	running bool
	loop    *loopIn // who runs, if it is no goroutine
	ended   bool
	err     error // why it ended

	asked, pushes bool // memory was charged for RECVFROM, for WINDOW
}

// outSide is what is written or sent.
type outSide struct {
	queue   []outItem
	bytes   int // in the queue
	running bool
	op      *operation
	due     int   // bytes that are to be granted to the owner again
	err     error // nothing is written any more
	lingers bool  // the socket is closed, who writes frees it
}

// outItem is something that waits to be written or done.
type outItem struct {
	op   Op
	data []byte     // what is to be written, or a batch
	o    *operation // nil: nobody waits
	size int        // what counts against the window

	// Of datagrams: how many they are, how many were sent before, and what became of the one behind them.
	count   int
	sent    int
	refusal error
}

// news is what the pump tells the owner.
type news struct {
	window   int
	writeErr error
	hangup   error
	more     [][]byte // of whole events
	missed   int      // failures for which there was no room among them
	missedOp Op       // of the last of these
}

// event sends an event to the owner, which may have to wait for it. m begins with room for a header.
func (s *sock) event(h Header, m []byte) {
	h.Sock = s.num
	h.put(m)
	o := s.own
	msg := connector.Message{ID: cbid.TSocket, Data: m}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	s.seq++
	msg.Seq = s.seq
	s.a.stats.events.Add(1)
	// If it fails the owner is gone, or will be told that something is missing by the numbers.
	if o.sink != (cbid.ID{}) {
		msg.ID = o.sink
		_ = s.a.sinks.Post(s.ctx, msg, connector.Dest{})
		return
	}
	_ = connector.Post(s.ctx, s.a.bus, msg, connector.Dest{Port: o.port})
}

// headroom is an empty message with room for a header.
func headroom(n int) []byte { return make([]byte, HeaderLen, HeaderLen+n) }

// sendNews is the pump's.
func (s *sock) sendNews() {
	s.mu.Lock()
	n := s.news
	s.news = news{}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	if n.window > 0 {
		s.event(Header{Op: EvWindow, Arg: uint64(n.window)}, s.own.header[:])
	}
	if n.writeErr != nil {
		s.event(Header{Op: EvWriteError}, appendErrno(headroom(64), n.writeErr))
	}
	if n.hangup != nil {
		s.event(Header{Op: EvHangup}, appendErrno(headroom(64), n.hangup))
	}
	for _, m := range n.more {
		h, _, _ := ParseHeader(m)
		s.event(h, m)
	}
	if n.missed > 0 {
		err := &Error{syscall.ENOBUFS, fmt.Sprintf("%v: %d more failures were not told one by one", n.missedOp, n.missed)}
		s.event(Header{Op: EvError, Arg: uint64(n.missedOp)}, appendErrno(headroom(96), err))
	}
}

// maxNews bounds the events that wait for the pump: they tell of failures of what the owner wanted no reply to.
const maxNews = 64

// addNews has the pump send an event about an op that has failed; beyond the bound it tells only how many there were. s.mu is held.
func (s *sock) addNews(op Op, m []byte) {
	if len(s.news.more) < maxNews {
		s.news.more = append(s.news.more, m)
	} else {
		s.news.missed++
		s.news.missedOp = op
	}
	s.own.tell(s)
}

// pushError tells the owner that a request without reply has failed.
func (s *sock) pushError(op Op, err error) {
	m := headroom(64)
	Header{Op: EvError, Arg: uint64(op)}.put(m)
	m = appendErrno(m, err)
	s.mu.Lock()
	s.addNews(op, m)
	s.mu.Unlock()
}

// wakeIn wakes who reads.
func (s *sock) wakeIn() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// startIn starts who reads, if it does not run. s.mu is held.
func (s *sock) startIn(loop func(*sock)) {
	if s.in.running {
		s.wakeIn()
		return
	}
	if !s.in.ended && !s.closed {
		s.in.running = s.a.spawn(func() { loop(s) })
	}
}

// window takes the credit of the owner: so many bytes, or sockets, may be sent unasked.
func (s *sock) window(r *request) error {
	n := r.h.Arg
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 1<<30 || s.in.credit+int64(n) > 1<<30 {
		return invalid("window: more than 2^30")
	}
	if s.in.op != nil {
		return errBusy(OpWindow, s.in.op.op)
	}
	loop, err := s.inLoop()
	if err != nil {
		return err
	}
	if err := s.chargeReceive(&s.in.pushes); err != nil {
		return err
	}
	s.in.pushing = true
	s.in.credit += int64(n)
	if !s.receiveOnLoop() {
		s.startIn(loop)
	}
	r.done(s.num, 0, nil)
	return nil
}

// inLoop returns what reads on this kind of socket, s.mu held.
func (s *sock) inLoop() (func(*sock), error) {
	switch {
	case s.stream != nil:
		return (*sock).readLoop, nil
	case s.lis != nil:
		return (*sock).acceptLoop, nil
	case s.kind == kindDgram:
		return (*sock).recvLoop, s.makeDgram()
	}
	return nil, errNotConnected
}

func errBusy(op, other Op) error {
	return &Error{syscall.EBUSY, fmt.Sprintf("%v: %v is outstanding on this socket", op, other)}
}

var (
	errNotConnected = &Error{syscall.ENOTCONN, "the socket is not connected"}
	errWindowed     = &Error{syscall.EBUSY, "what comes is sent unasked on this socket, as WINDOW says"}
	errStreamOnly   = &Error{syscall.EOPNOTSUPP, "this is no stream socket"}
	errDgramOnly    = &Error{syscall.EOPNOTSUPP, "this is no datagram socket"}
)

// beginIn makes r the outstanding operation of the reading side. s.mu is held.
func (s *sock) beginIn(r *request, want int, loop func(*sock)) error {
	switch {
	case s.in.pushing:
		return errWindowed
	case s.in.op != nil:
		return errBusy(r.h.Op, s.in.op.op)
	case s.in.ended:
		return s.in.err
	case !r.wantsReply():
		return invalid(r.h.Op.String() + " is nothing without its reply")
	}
	if err := s.chargeReceive(&s.in.asked); err != nil {
		return err
	}
	o, err := r.later(s.ctx)
	if err != nil {
		return err
	}
	s.in.op, s.in.want = o, want
	s.startIn(loop)
	return nil
}

// nextIn waits until there is something to read for: an operation, or credit. It returns ok false when the
// socket is closed.
func (s *sock) nextIn() (op *operation, want int, credit int64, ok bool) {
	for {
		s.mu.Lock()
		op, want, credit = s.in.op, s.in.want, s.in.credit
		closed := s.closed
		s.mu.Unlock()
		switch {
		case closed:
			return nil, 0, 0, false
		case op != nil, credit > 0:
			return op, want, credit, true
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return nil, 0, 0, false
		}
	}
}

// endIn ends an operation of the reading side.
func (s *sock) endIn(o *operation, err error, value uint32, body []byte) {
	s.mu.Lock()
	if s.in.op == o {
		s.in.op = nil
	}
	s.mu.Unlock()
	o.finish(err, value, body)
}

// quitIn is called by who reads when it ends.
func (s *sock) quitIn(why error) {
	s.mu.Lock()
	o := s.in.op
	s.in.op, s.in.running, s.in.ended, s.in.err = nil, false, true, why
	s.mu.Unlock()
	if o != nil {
		o.finish(why, 0, nil)
	}
}

// cancel stops an outstanding operation, which completes with ECANCELED unless it was faster.
func (s *sock) cancel(r *request) error {
	s.mu.Lock()
	var found *operation
	for _, o := range []*operation{s.in.op, s.out.op, s.connecting, s.monitor, s.slow} {
		switch {
		case o == nil:
		case r.h.Flags&FlagAll != 0 && uint64(o.op) == r.h.Arg, r.h.Flags&FlagAll == 0 && uint64(o.d.Msg.Seq) == r.h.Arg:
			found = o
		}
	}
	s.mu.Unlock()
	if found == nil || found.over.Load() {
		return &Error{syscall.ENOENT, "cancel: no such operation is outstanding: it has completed"}
	}
	found.cancel(errCanceled)
	if found.op == OpMonitor {
		s.endMonitor(found, errCanceled)
	}
	r.done(s.num, 0, nil)
	return nil
}

// doClose closes the socket; what is outstanding completes with ECANCELED.
func (s *sock) doClose(r *request) error {
	s.mu.Lock()
	later := s.unlinks()
	s.mu.Unlock()
	if !later {
		s.close()
		r.done(s.num, 0, nil)
		return nil
	}
	o := r.laterWithin(context.Background(), 0)
	s.closeThen(func() { o.finish(nil, 0, nil) })
	return nil
}

// close does not block. What was written, and is not yet, goes on for a while.
func (s *sock) close() { s.closeThen(nil) }

// closeThen calls done, if it is not nil, when a file that goes with the socket has gone.
func (s *sock) closeThen(done func()) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	unlinks := s.unlinks()
	s.out.lingers = s.out.running && s.stream != nil && s.a.cfg.Linger > 0
	lingers := s.out.lingers
	if lingers && !s.in.running {
		s.a.spawn(func() { s.drain(make([]byte, 4096)) })
	}
	monitor := s.monitor
	s.monitor = nil
	children := s.children
	s.children = nil
	s.mu.Unlock()
	s.claim()
	for c := range children {
		c.close()
	}
	s.cancelAll()
	if monitor != nil {
		monitor.finish(errSockGone, 0, nil)
	}
	defer s.forget()
	if !lingers {
		end := func() {
			s.free()
			if done != nil {
				done()
			}
		}
		if !unlinks || !s.a.spawn(end) {
			end()
		}
		return
	}
	s.a.mu.Lock()
	if s.a.closed {
		s.stopOut()
	}
	s.a.linger[s] = struct{}{}
	s.a.mu.Unlock()
	timer := time.AfterFunc(s.a.cfg.Linger, s.stopOut)
	context.AfterFunc(s.outCtx, func() {
		timer.Stop()
		s.a.mu.Lock()
		delete(s.a.linger, s)
		s.a.mu.Unlock()
	})
}

// free gives everything back. It is called once: by close, or by who goes on writing.
func (s *sock) free() {
	s.stopOut()
	s.mu.Lock()
	stream, dgram, lis, bound := s.stream, s.dgram, s.lis, s.bound
	s.mu.Unlock()
	switch {
	case bound != nil:
		_ = bound.Close()
	case stream != nil:
		_ = stream.Close()
	case dgram != nil:
		_ = dgram.Close()
	case lis != nil:
		_ = lis.Close()
	}
	s.release()
}

// adopt makes ns go with the listener s, until its owner has heard of it: nobody else would close it. It reports
// false when the listener is closed.
func (s *sock) adopt(ns *sock) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.children == nil {
		s.children = make(map[*sock]struct{})
	}
	s.children[ns] = struct{}{}
	ns.mu.Lock()
	ns.parent = s
	ns.mu.Unlock()
	return true
}

// claim is called when the owner of the socket has asked something of it.
func (s *sock) claim() {
	s.mu.Lock()
	p := s.parent
	s.parent = nil
	s.mu.Unlock()
	if p != nil {
		p.mu.Lock()
		delete(p.children, s)
		p.mu.Unlock()
	}
}
