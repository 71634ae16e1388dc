package rxrpc

import (
	"context"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// readable reports whether the window of the call allows data to be received; s.mu is held.
func (x *sockCall) readable() bool { return x.s.cfg.Window <= 0 || x.credit > 0 }

// Window allows n bytes more of a call to be received (SocketConfig.Window), or, if n is negative, fewer. It reports whether there is such a call.
func (s *Socket) Window(id uint64, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.calls[id]
	if x != nil {
		x.widen(n)
	}
	return x != nil
}

// widen does Window; s.mu is held.
func (x *sockCall) widen(n int) {
	if n == 0 {
		return
	}
	const most = 1<<30 - 1
	n = min(max(n, -most), most)
	x.credit = min(max(x.credit+n, -most), most)
	x.s.tell(x)
}

// WindowWithin is Window, but it does not give the call more than most bytes. What it has already it keeps.
func (s *Socket) WindowWithin(id uint64, n, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.calls[id]
	if x != nil {
		x.widen(max(min(n, most-x.credit), 0))
	}
	return x != nil
}

// NarrowWindows takes from all calls what they may receive beyond most bytes.
func (s *Socket) NarrowWindows(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.calls {
		x.credit = min(x.credit, most)
	}
}

// A Received is what Receive returns: what Recvmsg would, and what an interceptor is told (RxMessage).
type Received struct {
	Msg
	Mark   Mark
	Last   bool          // the last data of the peer
	Errno  syscall.Errno // KernelService.ErrorNumber
	Kernel bool          // of a call of the kernel interface: its tag is not free until EndCall
}

// Receive is Recvmsg for who relays messages: it does not wait, false is that there is nothing to receive. Data that come with a Security
// are behind the first room bytes of p, which the relay can have that in.
func (s *Socket) Receive(p []byte, room int) (r Received, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return r, false
	}
	x, i := s.next()
	if x == nil {
		return r, false
	}
	r.Kernel = x.kernel != nil
	announce := x.announce
	if x.untold() != nil {
		p = p[min(room, len(p)):]
	}
	r.Msg = s.receive(context.Background(), x, i, p, MsgDontWait)
	r.Last = r.Flags&MsgMore == 0
	switch {
	case announce:
		r.Mark, r.Last = MarkNewCall, false
	case r.Control.Command == 0: // data
	default:
		r.Mark, r.Errno = x.mark(r.Control.Command)
		r.Last = false
	}
	return r, true
}

// mark is how an interceptor is told the end of the call; s.mu is held.
func (x *sockCall) mark(c ControlType) (Mark, syscall.Errno) {
	errno := x.result.Errno
	switch c {
	case CtlAck:
		return MarkFinalAck, errno
	case CtlBusy:
		return MarkBusy, syscall.EBUSY
	case CtlNetError:
		return MarkNetError, errno
	case CtlAbort:
		if x.result.Completion == proto.RemotelyAborted {
			return MarkRemoteAbort, errno
		}
	}
	return MarkLocalError, errno
}

// over is called when the last message of the call was received: its tag is free, unless EndCall is to
// free it. s.mu is held.
func (s *Socket) over(x *sockCall) {
	if x.kernel != nil {
		x.told = true
		x.rx.drop()
		return
	}
	s.release(x)
}
