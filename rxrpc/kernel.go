package rxrpc

import (
	"context"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A KernelService is the interface that AF_RXRPC has for file systems in the kernel, on a Socket that was bound, and listens
// if it is a server's: calls with keys of their own, and messages that are intercepted, or read from a call, rather than
// received by Recvmsg.
//
// The names are those of rxrpc_kernel_begin_call and so on (Documentation/networking/rxrpc.txt of Linux 2.6.22; of
// today's ones rxrpc_kernel_charge_accept, recv_data, check_life, set_tx_length and get_srtt). Errors are *SocketError.
type KernelService struct{ s *Socket }

// NewKernelService returns the kernel interface of a socket.
func NewKernelService(s *Socket) *KernelService { return &KernelService{s} }

// Socket returns the socket.
func (k *KernelService) Socket() *Socket { return k.s }

// A KernelCall is a call that BeginCall, AcceptCall or ChargeAccept has given. It must be ended by EndCall.
type KernelCall struct {
	x      *sockCall
	notify func(*KernelCall)
}

// UserID returns the number that the application has given the call.
func (c *KernelCall) UserID() uint64 { return c.x.id }

// Peer returns the address of the other side with the service that the call is of: after an upgrade the
// new one.
func (c *KernelCall) Peer() Addr {
	c.x.s.mu.Lock()
	defer c.x.s.mu.Unlock()
	return Addr{Service: c.x.service, Addr: c.x.peer}
}

// BeginParams is what a call is begun with.
type BeginParams struct {
	// Peer is where the call goes; without it where the socket is connected to.
	Peer Addr
	// Key secures the call instead of the socket's; calls with one key share connections all the same. nil: the
	// socket's, NullKey: none.
	Key    ClientKey
	UserID uint64

	TxLength    int64 // how much will be sent, if HasTxLength
	HasTxLength bool
	Timeouts    Timeouts
	Upgrade     bool
	Exclusive   bool

	// Notify, if it is set, is told that there is news of the call, for RecvData; nothing of it goes to
	// the interceptor or to Recvmsg then. It must only wake somebody: it is called in the middle of the protocol.
	Notify func(*KernelCall)
}

// BeginCall begins a client's call. Nothing is sent yet. It waits for a channel until ctx ends. Errors: EDESTADDRREQ, EEXIST for
// a number in use, EINTR, and what the key says.
func (k *KernelService) BeginCall(ctx context.Context, p BeginParams) (*KernelCall, error) {
	m := Msg{Name: p.Peer, Control: Control{
		CallID: p.UserID, HasCallID: true, TxLength: p.TxLength, HasTxLength: p.HasTxLength,
		Timeouts: p.Timeouts, HasTimeouts: true, Upgrade: p.Upgrade, Exclusive: p.Exclusive,
	}}
	if err := m.Control.check(); err != nil {
		return nil, &SocketError{Op: "begin call", Err: err}
	}
	if m.Name != (Addr{}) {
		if err := k.s.checkAddr("begin call", m.Name); err != nil {
			return nil, err
		}
	}
	s := k.s
	s.mu.Lock()
	np := newCallParams{key: s.key, level: s.level, quiet: true}
	shut := s.shut
	s.mu.Unlock()
	if shut {
		return nil, sockErr("begin call", syscall.EPIPE, "shut down").of(p.UserID)
	}
	if p.Key != nil {
		np.key = p.Key
	}
	c := &KernelCall{notify: p.Notify}
	np.kernel = c
	if _, err := s.begin(ctx, &m, np); err != nil {
		return nil, err
	}
	return c, nil
}

// SubmitData is SendData as Submit is Sendmsg.
func (k *KernelService) SubmitData(c *KernelCall, data []byte, more bool, done func(n int, err error)) *Submission {
	m := Msg{Control: Control{CallID: c.x.id, HasCallID: true}, Data: data}
	if more {
		m.Flags = MsgMore
	}
	return k.s.SubmitMore(m, done)
}

// EndCall ends the use of a call: it is aborted by RX_CALL_DEAD unless it is over, or a server's whose reply was sent to its
// end. Its number is free, and nothing of it is seen any more.
func (k *KernelService) EndCall(c *KernelCall) {
	x := c.x
	x.s.discard(x)
	x.e.do(func(now proto.Time) {
		x.end(now)
		x.failAll(sockErr("sendmsg", syscall.ESHUTDOWN, "the call was ended").of(x.id))
		x.s.uncharge(x)
	})
}

// SendData sends a piece of the request, or of the reply: the last one unless more is set. Errors as Sendmsg.
func (k *KernelService) SendData(ctx context.Context, c *KernelCall, data []byte, more bool) (int, error) {
	m := Msg{Control: Control{CallID: c.x.id, HasCallID: true}, Data: data}
	if more {
		m.Flags = MsgMore
	}
	return c.x.send(ctx, &m)
}

// AbortCall aborts a call with a code, and reports whether there was something to abort.
func (k *KernelService) AbortCall(c *KernelCall, code int32) bool {
	return c.x.abort(wire.AbortCode(code)) == nil
}

// SetTxLength announces how many bytes will be sent. Errors: EINVAL if that was said before or something was sent, ESHUTDOWN.
func (k *KernelService) SetTxLength(c *KernelCall, n int64) error {
	err := proto.ErrEnded
	c.x.e.do(func(proto.Time) {
		if c.x.pc != nil {
			err = c.x.pc.SetTxLength(n)
		}
	})
	if err != nil {
		return (&SocketError{Op: "set length", Err: err}).of(c.x.id)
	}
	return nil
}

// CheckLife reports whether the call goes on, or has succeeded and data of it is left to be read.
func (k *KernelService) CheckLife(c *KernelCall) bool {
	s := c.x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.x.phase != callGone && (!c.x.ended || !c.x.result.Failed() && !c.x.rx.empty())
}

// SRTT returns the smoothed round-trip time to the call's peer; false if none was measured.
func (k *KernelService) SRTT(c *KernelCall) (d time.Duration, ok bool) {
	c.x.e.do(func(proto.Time) {
		if c.x.pc != nil {
			d = c.x.pc.RTT()
		}
	})
	return d, d > 0
}

// AcceptCall takes the first call that waits (Socket.Listen). Errors: ENODATA if none does, EBADSLT for a number in use, ETIME and ECONNABORTED
// if the call has ended meanwhile.
func (k *KernelService) AcceptCall(userID uint64) (*KernelCall, error) {
	c := new(KernelCall)
	if err := k.s.acceptCall(userID, c); err != nil {
		return nil, err
	}
	return c, nil
}

// RejectCall refuses the first call that waits, by BUSY. Errors: ENODATA, ETIME, ECONNABORTED.
func (k *KernelService) RejectCall() error { return k.s.Reject() }

// ChargeAccept gives a call that will come a number, and who is told of it (BeginParams.Notify). Errors: ESHUTDOWN if the socket does not
// listen, EBADSLT for a number in use, ENOBUFS for a full backlog.
func (k *KernelService) ChargeAccept(userID uint64, notify func(*KernelCall)) (*KernelCall, error) {
	c := &KernelCall{notify: notify}
	k.s.mu.Lock()
	listening := k.s.state == serverListening && !k.s.closed
	k.s.mu.Unlock()
	if !listening {
		return nil, sockErr("charge", syscall.ESHUTDOWN, "not listening").of(userID)
	}
	if err := k.s.charge(userID, c); err != nil {
		return nil, err
	}
	return c, nil
}

// What RecvData says besides errors.
const (
	RecvMore    = 0 // the buffer is full, and there is more
	RecvEnd     = 1 // it is full, and that was the end of the reply
	RecvRequest = 2 // it is full, and that was the end of the request: the call goes on
)

// RecvData reads the data of a call with Notify into p, without waiting. It returns how much, with RecvMore and so on if that fills p;
// EAGAIN if more has to arrive first, EBADMSG if the data ends before, EMSGSIZE if there is more and wantMore is not
// set; and if the call has failed its error, an *AbortError with ECONNABORTED for one.
func (k *KernelService) RecvData(c *KernelCall, p []byte, wantMore bool) (n, status int, err error) {
	x, s := c.x, c.x.s
	refuse := func(errno syscall.Errno, why string) error {
		return sockErr("receive", errno, why).of(x.id)
	}
	s.mu.Lock()
	if x.ended && x.result.Failed() {
		err := (&SocketError{Op: "receive", Err: x.failure()}).of(x.id)
		s.mu.Unlock()
		return 0, 0, err
	}
	n, packets := x.rx.read(p)
	empty := x.rx.empty()
	end := empty && x.rxEnd
	s.mu.Unlock()
	x.consumed(packets)
	switch {
	case n < len(p) && end:
		return n, 0, refuse(syscall.EBADMSG, "the data ends before")
	case n < len(p), !end && empty && !wantMore:
		return n, 0, refuse(syscall.EAGAIN, "more has to arrive")
	case end && x.client:
		return n, RecvEnd, nil
	case end:
		return n, RecvRequest, nil
	case !wantMore:
		return n, 0, refuse(syscall.EMSGSIZE, "more data than wanted")
	}
	return n, RecvMore, nil
}
