package rxrpc

import (
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

type sockPhase uint8

const (
	callStarting sockPhase = iota // of a client: its first Sendmsg is at work
	callWaiting                   // of a server: for ACCEPT
	callCharged                   // of a server: a tag that waits for a call
	callLive
	callGone // the tag is free
)

// A sockCall is a call of a Socket.
type sockCall struct {
	s *Socket
	e *Endpoint

	pc *proto.Call // of the owner of e; nil before the call is there, and after its end

	// s.mu guards what follows.
	id       uint64
	phase    sockPhase
	client   bool
	peer     netip.AddrPort
	service  uint16
	times    Timeouts
	hardFrom time.Time // when times.Hard began
	rx       bufQueue
	rxEnd    bool          // the last of rx is the last there is
	endTold  bool          // of a server's: the application knows that the request is complete
	took     int           // packets that were read, not reported yet
	secured  *SecurityInfo // of a server's: who calls; nil if that is not proven
	known    bool          // the application knows it
	ended    bool
	busy     bool // it ended because the server is busy
	result   proto.Result
	told     bool        // an interceptor has had the last message
	announce bool        // NEW_CALL is to be received
	queued   bool        // in s.rxq
	held     bool        // a reader waits for more of it
	sending  bool        // a Sendmsg is at work
	begun    bool        // of a client: the protocol has it
	channel  bool        // the call does not wait for a channel any more
	tx       gate        // until one of the above, or room to send, has changed
	kernel   *KernelCall // of the kernel interface; or nil
	credit   int         // bytes that may be received, if SocketConfig.Window is set
	counted  bool        // by SocketConfig.Calls
	unread   bool        // it counts in s.unread
	subs     []*Submission

	// Room for the usual: one message of each.
	oneSub [1]*Submission
	oneBuf [1]*proto.Buf
}

// roomy returns the call with room for the usual.
func (x *sockCall) roomy() *sockCall {
	x.subs, x.rx.bufs = x.oneSub[:0], x.oneBuf[:0]
	return x
}

// arrived takes in a call that waits for ACCEPT. The owner calls it.
func (s *Socket) arrived(now proto.Time, pc *proto.Call) {
	if s.cfg.AutoAccept {
		s.autoAccept(now, pc)
		return
	}
	x := (&sockCall{s: s, e: s.e, phase: callWaiting, announce: true, credit: s.cfg.Window}).roomy()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || x.count() != nil { // Close releases none that comes after it
		pc.TurnAway(now)
		return
	}
	x.pc, x.peer, x.service, x.secured = pc, pc.Peer(), uint16(pc.Service()), provenBy(pc)
	pc.Tag = x
	if len(s.pending) >= s.backlog { // some have died: the oldest is forgotten
		i := max(slices.IndexFunc(s.pending, func(y *sockCall) bool { return y.ended }), 0)
		s.release(s.pending[i])
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	s.pending = append(s.pending, x)
	s.tell(x)
}

// autoAccept takes in a call that needs no ACCEPT, if there is room. The owner calls it.
func (s *Socket) autoAccept(now proto.Time, pc *proto.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.room() {
		pc.TurnAway(now)
		return
	}
	x := (&sockCall{s: s, e: s.e, pc: pc, phase: callLive, credit: s.cfg.Window, peer: pc.Peer(), service: uint16(pc.Service())}).roomy()
	if x.count() != nil {
		pc.TurnAway(now)
		return
	}
	pc.Tag = x
	x.secured = provenBy(pc)
	x.unread = true
	s.unread++
	s.autos++
	x.id = AutoTag | s.autos
	s.calls[x.id] = x
}

// provenBy is who calls, if that is proven. The owner calls it.
func provenBy(pc *proto.Call) *SecurityInfo {
	if i := pc.Security(); i.Authenticated {
		proven := i // i itself would be allocated for those that are not secured too
		return &proven
	}
	return nil
}

// attach ties the call to the protocol's. The owner calls it.
func (x *sockCall) attach(pc *proto.Call) {
	x.pc = pc
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.peer, x.service, x.secured = pc.Peer(), uint16(pc.Service()), provenBy(pc)
	if x.phase == callCharged {
		x.phase = callLive
		x.s.charges--
	}
}

// happened takes in what the protocol tells of the call. The owner calls it.
func (x *sockCall) happened(now proto.Time, w proto.What) {
	s, pc := x.s, x.pc
	if pc == nil {
		return
	}
	s.mu.Lock()
	x.service = uint16(pc.Service())
	for {
		b, last, ok := pc.Take()
		if !ok {
			break
		}
		x.rx.push(b)
		x.rxEnd = x.rxEnd || last
	}
	giveUp := w.Has(proto.Busy) && x.client && s.cfg.BusyEnds && !w.Has(proto.Ended)
	if giveUp {
		x.busy = true
	}
	x.channel = x.channel || w.Has(proto.Assigned) || w.Has(proto.Connected)
	if w.Has(proto.Ended) {
		x.ended, x.result = true, pc.Result()
		if x.result.Failed() {
			x.rx.drop() // as AF_RXRPC does
		}
		x.busy = x.busy && x.result.Failed()
	}
	x.tx.open()
	submitted := len(x.subs) > 0
	if submitted && x.channel && x.phase == callStarting && x.begun {
		x.phase = callLive
	}
	s.tell(x)
	k := x.kernel
	s.mu.Unlock()
	switch {
	case w.Has(proto.Ended):
		x.end(now)
	case giveUp:
		pc.Abort(now, wire.UserAbort) // Ended is told
	}
	if submitted {
		x.advance(now)
	}
	if k != nil && k.notify != nil {
		k.notify(k)
	}
}

// end gives the protocol its part back. The owner calls it.
func (x *sockCall) end(now proto.Time) {
	if pc := x.pc; pc != nil {
		x.pc, pc.Tag = nil, nil
		pc.Release(now)
	}
}

// consumed reports packets that were read to the protocol. Nobody may hold s.mu.
func (x *sockCall) consumed(packets int) {
	if packets > 0 {
		x.e.put(task{x: x, packets: packets})
	}
}

// something reports whether there is something to receive of the call; s.mu is held.
func (x *sockCall) something() bool {
	switch {
	case x.announce:
		return true
	case x.phase != callLive || x.told || x.kernel != nil && x.kernel.notify != nil:
		return false
	case !x.rx.empty():
		return x.readable() || x.ended && x.result.Failed()
	case x.ended:
		return true
	}
	return !x.client && x.rxEnd && !x.endTold
}

// tell puts the call into the queue of what can be received, if there is something; s.mu is held.
func (s *Socket) tell(x *sockCall) {
	if !x.something() {
		return
	}
	if !x.queued {
		x.queued = true
		if len(s.rxq) == 0 {
			s.rxq = s.rxqMem
		}
		if s.rxq = append(s.rxq, x); len(s.rxq) == 1 || cap(s.rxq) > cap(s.rxqMem) {
			s.rxqMem = s.rxq[:0]
		}
	}
	if s.cfg.Notify != nil {
		s.cfg.Notify()
	}
	s.rx.open()
}

// next returns the first call with something to receive, and its place; s.mu is held.
func (s *Socket) next() (*sockCall, int) {
	for i := 0; i < len(s.rxq); {
		x := s.rxq[i]
		switch {
		case !x.something():
			s.unqueue(i)
		case x.held:
			i++
		default:
			return x, i
		}
	}
	return nil, 0
}

func (s *Socket) unqueue(i int) {
	s.rxq[i].queued = false
	if i == 0 {
		s.rxq[0] = nil
		s.rxq = s.rxq[1:]
		return
	}
	s.rxq = slices.Delete(s.rxq, i, i+1)
}

// release frees the call's tag, for good; s.mu is held.
func (s *Socket) release(x *sockCall) {
	if s.calls[x.id] == x {
		delete(s.calls, x.id)
	}
	if x.phase == callCharged && s.charges > 0 {
		s.charges--
	}
	x.seen()
	x.uncount()
	x.phase, x.announce = callGone, false
	x.rx.drop()
	x.tx.open()
}

// failure is the error of a call that has ended otherwise than well.
func (x *sockCall) failure() error {
	if x.busy {
		return &errnoError{"the server is busy", syscall.EBUSY}
	}
	return resultError(&x.result, nil)
}

// peek copies what is there into p, and reports whether that was all.
func (q *bufQueue) peek(p []byte) (n int, all bool) {
	off := q.off
	for _, b := range q.bufs[q.head:] {
		k := copy(p[n:], b.Bytes()[off:])
		n += k
		if off+k < len(b.Bytes()) {
			return n, false
		}
		off = 0
	}
	return n, true
}

// pop takes the first piece, what was not read of it.
func (q *bufQueue) pop() (b *proto.Buf, off int) {
	b, off = q.bufs[q.head], q.off
	q.bufs[q.head] = nil
	q.head++
	q.off = 0
	if q.empty() {
		q.bufs, q.head = q.bufs[:0], 0
	}
	return b, off
}
