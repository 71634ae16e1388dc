package rxclient

import (
	"context"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// Recvmsg is as rxrpc.Socket.Recvmsg.
func (s *Socket) Recvmsg(ctx context.Context, p []byte, flags rxrpc.MsgFlags) (rxrpc.Msg, error) {
	if flags&(rxrpc.MsgOOB|rxrpc.MsgTrunc) != 0 {
		return rxrpc.Msg{}, s.errno("recvmsg", syscall.EOPNOTSUPP, "MSG_OOB or MSG_TRUNC")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return rxrpc.Msg{}, s.dead("recvmsg")
		}
		if x, i := s.next(); x != nil {
			if flags&rxrpc.MsgPeek != 0 {
				return x.look(p), nil
			}
			return s.receive(ctx, x, i, p, flags), nil
		}
		switch err := s.dead("recvmsg"); {
		case err != nil:
			return rxrpc.Msg{}, err
		case len(s.tags) == 0 && !s.listening:
			return rxrpc.Msg{}, s.errno("recvmsg", syscall.EAGAIN, "no calls")
		case flags&rxrpc.MsgDontWait != 0:
			return rxrpc.Msg{}, s.errno("recvmsg", syscall.EAGAIN, "nothing to receive")
		}
		if err := s.pause(ctx, "recvmsg", s.rx.wait()); err != nil {
			return rxrpc.Msg{}, err
		}
	}
}

// pause lets go of s.mu until c is closed or ctx ends.
func (s *Socket) pause(ctx context.Context, op string, c <-chan struct{}) *rxrpc.SocketError {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return interrupted(op, ctx)
	}
}

// message is what all messages of the call have.
func (x *tag) message() rxrpc.Msg {
	return rxrpc.Msg{Name: x.peer, Control: rxrpc.Control{CallID: x.id, HasCallID: true}}
}

// look is Recvmsg with MsgPeek.
func (x *tag) look(p []byte) rxrpc.Msg {
	if x.end != nil && !x.any {
		return *x.end
	}
	m := x.message()
	m.Security = x.sec
	n, off := 0, x.off
	for _, b := range x.data[x.head:] {
		k := copy(p[n:], b[off:])
		n += k
		if off+k < len(b) {
			m.Data, m.Flags = p[:n], rxrpc.MsgMore
			return m
		}
		off = 0
	}
	m.Data, m.Flags = p[:n], x.flags
	return m
}

// read copies what is there into p; all says that nothing is left.
func (x *tag) read(p []byte) (n int, all bool) {
	for x.head < len(x.data) {
		b := x.data[x.head]
		k := copy(p[n:], b[x.off:])
		n += k
		h := uint32(0)
		if x.head < len(x.handles) {
			h = x.handles[x.head]
		}
		if h != 0 {
			x.grant -= k // it is delivered instead
		}
		if x.off += k; x.off < len(b) {
			return n, false
		}
		if h != 0 {
			x.freed = append(x.freed, h)
		}
		x.data[x.head] = nil
		x.head++
		x.off = 0
	}
	x.data, x.handles, x.head = x.data[:0], x.handles[:0], 0
	return n, true
}

// addHandled takes in data of a socket that is intercepted, for RecvData. Without a handle they need no delivery.
func (x *tag) addHandled(data []byte, handle uint32) {
	if handle != 0 {
		x.handles = append(x.handles, make([]uint32, len(x.data)-len(x.handles))...)
		x.handles = append(x.handles, handle)
	}
	x.data = append(x.data, data)
}

// receive takes the message of x, which is at i in the queue; s.mu is held.
func (s *Socket) receive(ctx context.Context, x *tag, i int, p []byte, flags rxrpc.MsgFlags) rxrpc.Msg {
	if x.end != nil && !x.any {
		m := *x.end
		s.unqueue(i)
		x.end = nil
		if x.known && x.kernel == nil { // or EndCall frees the tag
			s.release(x)
		}
		return m
	}
	n := 0
	var m rxrpc.Msg
	sec := x.sec
	x.sec = nil
	for {
		k, all := x.read(p[n:])
		n += k
		m = x.message()
		m.Security = sec
		m.Data, m.Flags = p[:n], x.flags
		if !all {
			m.Flags = rxrpc.MsgMore
		}
		x.any = !all
		s.consumed(x, k) // which lets go of s.mu: more may have come after it, and the end
		wait := flags&rxrpc.MsgWaitAll != 0 && flags&rxrpc.MsgDontWait == 0 && n < len(p) && m.Flags == rxrpc.MsgMore && !x.over
		if !wait || !s.more(ctx, x) {
			break
		}
	}
	if x.gone {
		return m
	}
	if m.Flags&rxrpc.MsgEOR != 0 && x.kernel == nil {
		s.release(x)
	}
	if i = slices.Index(s.rxq, x); i < 0 {
		s.tell(x)
	} else if !x.something() || x.off == 0 { // the others have their turn
		s.unqueue(i)
		s.tell(x)
	}
	return m
}

// more waits for more data of x, which nobody else reads meanwhile; false if it should not be waited for. s.mu is held.
func (s *Socket) more(ctx context.Context, x *tag) bool {
	x.held = true
	defer func() { x.held = false }()
	for {
		switch y, _ := s.next(); {
		case s.closed || x.gone || s.down != nil:
			return false
		case x.fail != nil:
			return false
		case x.any:
			return true
		case x.over || y != nil:
			return false
		}
		if s.pause(ctx, "recvmsg", s.rx.wait()) != nil {
			return false
		}
	}
}

// consumed counts what was read of a call, and tells the agent when it is much. s.mu is held.
func (s *Socket) consumed(x *tag, n int) {
	x.grant += n
	freed := x.freed
	x.freed = nil
	for _, h := range freed {
		b := rxmsg.Header{Op: rxmsg.OpDataDelivered, Flags: rxmsg.FlagNoReply, Sock: s.number, Arg: uint64(h)}
		s.tellRead(x, b.Append(nil))
	}
	if x.grant < s.grant || x.over || x.flags&rxrpc.MsgMore == 0 {
		return
	}
	b := rxmsg.Header{Op: rxmsg.OpWindow, Flags: rxmsg.FlagNoReply, Sock: s.number, Arg: x.id}.Append(make([]byte, 0, rxmsg.HeaderSize+4))
	b = rxmsg.AppendU32(b, uint32(x.grant))
	x.grant = 0
	s.tellRead(x, b)
}

// tellRead posts what is to be known of what was read of a call. It lets go of s.mu meanwhile.
func (s *Socket) tellRead(x *tag, b []byte) {
	held := x.held
	x.held = true // the bus may make who posts wait
	s.mu.Unlock()
	if err := s.c.post(s.c.ctx, s.number, b); err != nil {
		s.fail(s.c.busError(err))
	}
	s.mu.Lock()
	x.held = held
}

// RecvmsgRaw is as rxrpc.Socket.RecvmsgRaw.
func (s *Socket) RecvmsgRaw(ctx context.Context, name, control, data []byte, flags rxrpc.MsgFlags) (rxrpc.RawMsg, error) {
	m, err := s.Recvmsg(ctx, data, flags)
	if err != nil {
		return rxrpc.RawMsg{}, err
	}
	return m.CopyRaw(name, control), nil
}

// Poll is as rxrpc.Socket.Poll. A socket whose agent is gone is shut down.
func (s *Socket) Poll() rxrpc.PollEvents {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.poll()
}

func (s *Socket) poll() rxrpc.PollEvents {
	var ev rxrpc.PollEvents
	if x, _ := s.next(); x != nil || s.closed || s.down != nil {
		ev |= rxrpc.PollIn
	}
	if s.shut || s.closed || s.down != nil {
		return ev | rxrpc.PollHup
	}
	return ev | rxrpc.PollOut
}

// Changed is as rxrpc.Socket.Changed.
func (s *Socket) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rx.wait()
}

// Wait is as rxrpc.Socket.Wait.
func (s *Socket) Wait(ctx context.Context, want rxrpc.PollEvents) (rxrpc.PollEvents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if ev := s.poll(); ev&(want|rxrpc.PollHup) != 0 {
			return ev, nil
		}
		if err := s.pause(ctx, "poll", s.rx.wait()); err != nil {
			return 0, err
		}
	}
}
