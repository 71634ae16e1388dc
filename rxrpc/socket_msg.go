package rxrpc

import (
	"context"
	"errors"
	"syscall"
)

// MsgFlags are flags of a message, with Linux's values.
type MsgFlags int

// Flags.
const (
	MsgOOB      MsgFlags = 0x1     // EOPNOTSUPP
	MsgPeek     MsgFlags = 0x2     // receive: leave it there
	MsgCTrunc   MsgFlags = 0x8     // received: the address or the control data did not fit (RecvmsgRaw)
	MsgTrunc    MsgFlags = 0x20    // receive: EOPNOTSUPP; data is never cut off
	MsgDontWait MsgFlags = 0x40    // EAGAIN rather than waiting
	MsgEOR      MsgFlags = 0x80    // received: the last message of the call
	MsgWaitAll  MsgFlags = 0x100   // send: not given up while it gets on; receive: fill the buffer
	MsgMore     MsgFlags = 0x8000  // more data of this phase will follow
	MsgBatch    MsgFlags = 0x40000 // submit: other messages are submitted in a moment, and can leave together with this one
)

// A Msg is a message to send, or one that was received.
type Msg struct {
	// Name is where the first message of a call goes to; without it, where Connect says. Of a message
	// received it is the peer, with the service that the call is of: after an upgrade the new one.
	Name    Addr
	Control Control
	Flags   MsgFlags
	Data    []byte

	// Security is how the client of a call of a server has secured it, and who that is, if that is proven: in NEW_CALL, and in the first data of the call. nil:
	// it has not, or this is another message. AF_RXRPC does not say it.
	Security *SecurityInfo

	// Err is why a call has failed, with the last message of it that was received: an *AbortError or a *NetError. Control says
	// the same as AF_RXRPC does; that does not know who has aborted.
	Err error
}

// interrupted is a context's end where a system call would be interrupted: EINTR, and the context's error.
func interrupted(op string, ctx context.Context) *SocketError {
	return &SocketError{Op: op, Err: &errorString{"interrupted: " + context.Cause(ctx).Error(), syscall.EINTR, errors.Join(context.Cause(ctx), ctx.Err())}}
}

// SendmsgRaw is Sendmsg with the address and the control data as bytes: a struct sockaddr_rxrpc, or nothing, and a sequence
// of struct cmsghdr, as C programs have them on this machine. Errors besides: those of ParseAddr and ParseControl.
func (s *Socket) SendmsgRaw(ctx context.Context, name, control, data []byte, flags MsgFlags) (int, error) {
	m := Msg{Flags: flags, Data: data}
	var err error
	if len(name) > 0 {
		if m.Name, err = ParseAddr(name, s.AddrFamily()); err != nil {
			return 0, &SocketError{Op: "sendmsg", Err: err}
		}
	}
	if m.Control, err = ParseControl(control); err != nil {
		return 0, &SocketError{Op: "sendmsg", Err: err}
	}
	return s.Sendmsg(ctx, m)
}

// AddrFamily is the family of the socket's transport as ParseAddr has it: 4 or 6.
func (s *Socket) AddrFamily() int {
	if s.family == Inet {
		return 4
	}
	return 6
}

// A RawMsg says how much of what was given to RecvmsgRaw is used.
type RawMsg struct {
	Name, Control, Data int // bytes
	Flags               MsgFlags
}

// RecvmsgRaw is Recvmsg with the address and the control data as bytes. What does not fit into name is cut off, control messages that
// do not fit into control are left out, both with MsgCTrunc.
func (s *Socket) RecvmsgRaw(ctx context.Context, name, control, data []byte, flags MsgFlags) (RawMsg, error) {
	m, err := s.Recvmsg(ctx, data, flags)
	if err != nil {
		return RawMsg{}, err
	}
	return m.CopyRaw(name, control), nil
}

// CopyRaw writes the address and the control data of a message that was received as bytes, as RecvmsgRaw does.
func (m *Msg) CopyRaw(name, control []byte) RawMsg {
	r := RawMsg{Data: len(m.Data), Flags: m.Flags}
	if raw := m.Name.AppendRaw(nil); len(name) > 0 {
		if r.Name = copy(name, raw); r.Name < len(raw) {
			r.Flags |= MsgCTrunc
		}
	}
	raw := m.Control.AppendRaw(nil)
	for len(raw) > 0 {
		n := min(cmsgAlign(cmsgLen(raw)), len(raw))
		if n > len(control)-r.Control {
			r.Flags |= MsgCTrunc
			break
		}
		r.Control += copy(control[r.Control:], raw[:n])
		raw = raw[n:]
	}
	return r
}
