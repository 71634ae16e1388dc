package rxrpc

import (
	"context"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
)

// Recvmsg returns what has happened: data of one call, in p, or its end. Control has the tag of the call. MsgMore says that there is more
// data to come of the peer's phase, MsgEOR that this is the last message of the call, whose tag is free now.
//
//	data           a piece of a request, or of a reply; a client's call that has succeeded ends with its last
//	CtlNewCall     a call waits for ACCEPT; it has no tag
//	CtlAck         MsgEOR: a server's call has succeeded
//	CtlAbort       MsgEOR: the call was aborted, by either side, with Code
//	CtlBusy        MsgEOR: the server is busy (SocketConfig.BusyEnds)
//	CtlNetError    MsgEOR: the network has failed, Code is the errno
//	CtlLocalError  MsgEOR: this host has failed, Code is the errno
//
// It waits until there is something, or ctx ends (EINTR). With MsgPeek what is returned stays there. With MsgWaitAll
// it waits until p is full, the phase ends, or there is something of another call. Calls that fail lose what was not read.
//
// Errors: EAGAIN with MsgDontWait, and if there is nothing to wait for: no call, and nobody listens; EOPNOTSUPP for MsgOOB and
// MsgTrunc.
func (s *Socket) Recvmsg(ctx context.Context, p []byte, flags MsgFlags) (Msg, error) {
	if flags&(MsgOOB|MsgTrunc) != 0 {
		return Msg{}, sockErr("recvmsg", syscall.EOPNOTSUPP, "MSG_OOB or MSG_TRUNC")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return Msg{}, &SocketError{Op: "recvmsg", Err: errSocketClosed}
		}
		if x, i := s.next(); x != nil && !s.tapped {
			if flags&MsgPeek != 0 {
				return x.look(p), nil
			}
			return s.receive(ctx, x, i, p, flags), nil
		}
		switch {
		case len(s.calls) == 0 && s.state != serverListening:
			return Msg{}, sockErr("recvmsg", syscall.EAGAIN, "no calls")
		case flags&MsgDontWait != 0:
			return Msg{}, sockErr("recvmsg", syscall.EAGAIN, "nothing to receive")
		}
		if err := s.pause(ctx, "recvmsg", s.rx.wait()); err != nil {
			return Msg{}, err
		}
	}
}

// message is what all messages of the call have.
func (x *sockCall) message() Msg {
	return Msg{Name: Addr{Service: x.service, Addr: x.peer}, Control: Control{CallID: x.id, HasCallID: true}}
}

// notice is the message of the call that is not data, if it is its turn.
func (x *sockCall) notice() (m Msg, ok bool) {
	m = x.message()
	c := &m.Control
	switch {
	case x.announce:
		*c = Control{Command: CtlNewCall}
		m.Security = x.secured
		return m, true
	case !x.ended:
		return m, false
	case x.busy:
		c.Command = CtlBusy
	case x.result.Completion == proto.Succeeded:
		if x.client || !x.rx.empty() || !x.endTold {
			return m, false
		}
		c.Command = CtlAck
	case x.result.Completion == proto.NetworkError:
		c.Command, c.Code = CtlNetError, int32(x.result.Errno)
	case x.result.Completion == proto.LocalError:
		c.Command, c.Code = CtlLocalError, int32(x.result.Errno)
	default:
		c.Command, c.Code = CtlAbort, int32(x.result.Code)
	}
	m.Flags = MsgEOR
	if x.result.Failed() {
		m.Err = x.failure()
	}
	return m, true
}

// flags of a message with data, after which nothing is left if all is set.
func (x *sockCall) dataFlags(all bool) MsgFlags {
	switch {
	case !all || !x.rxEnd || x.client && !x.ended:
		return MsgMore
	case x.client:
		return MsgEOR
	}
	return 0
}

// untold is Msg.Security of the next data of the call.
func (x *sockCall) untold() *SecurityInfo {
	if x.known {
		return nil
	}
	return x.secured
}

// look is Recvmsg with MsgPeek.
func (x *sockCall) look(p []byte) Msg {
	m, ok := x.notice()
	if !ok {
		n, all := x.rx.peek(p)
		m.Data, m.Flags, m.Security = p[:n], x.dataFlags(all), x.untold()
	}
	return m
}

// receive takes the message of x, which is at i in the queue; s.mu is held.
func (s *Socket) receive(ctx context.Context, x *sockCall, i int, p []byte, flags MsgFlags) Msg {
	x.seen()
	m, ok := x.notice()
	if ok {
		s.unqueue(i)
		if x.announce {
			x.announce = false
		} else {
			s.over(x)
		}
		return m
	}
	n := 0
	m.Security = x.untold()
	x.known = true
	if s.cfg.Window > 0 {
		p = p[:min(len(p), max(x.credit, 0))]
	}
	for {
		k, packets := x.rx.read(p[n:])
		n += k
		x.credit -= k
		x.took += packets
		empty := x.rx.empty()
		m.Flags = x.dataFlags(empty)
		wait := flags&MsgWaitAll != 0 && flags&MsgDontWait == 0 && n < len(p) && m.Flags == MsgMore && !x.ended
		if !wait && x.took < reportAt && !empty {
			break
		}
		if report := x.took; report > 0 && x.ended { // nobody wants to know any more
			x.took = 0
		} else if report > 0 {
			x.took = 0
			x.held = true
			s.mu.Unlock()
			x.consumed(report)
			s.mu.Lock()
			x.held = false
		}
		if !wait || !s.more(ctx, x) {
			break
		}
	}
	if x.phase == callGone { // the socket was closed
		return Msg{Flags: m.Flags, Name: m.Name, Control: m.Control, Data: p[:n], Security: m.Security}
	}
	m.Data = p[:n]
	m.Name.Service = x.service
	switch {
	case m.Flags == MsgEOR:
		s.over(x)
	case m.Flags == 0:
		x.endTold = true
	}
	if i = slices.Index(s.rxq, x); i < 0 {
		s.tell(x)
	} else if !x.something() || x.rx.off == 0 { // the others have their turn
		s.unqueue(i)
		s.tell(x)
	}
	return m
}

// more waits for more data of x, which nobody else reads meanwhile; false if it should not be waited for. s.mu is held.
func (s *Socket) more(ctx context.Context, x *sockCall) bool {
	x.held = true
	defer func() { x.held = false }()
	for {
		switch y, _ := s.next(); {
		case s.closed || x.phase == callGone:
			return false
		case x.ended && x.result.Failed():
			return false
		case !x.rx.empty() || x.ended || x.rxEnd:
			return true
		case y != nil:
			return false
		}
		if s.pause(ctx, "recvmsg", s.rx.wait()) != nil {
			return false
		}
	}
}
