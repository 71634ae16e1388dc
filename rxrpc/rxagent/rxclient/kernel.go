package rxclient

import (
	"context"
	"encoding/binary"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A KernelService is the interface that AF_RXRPC has for file systems in the kernel, as rxrpc.KernelService is, on a Socket of the agent: see
// there for what the methods do.
type KernelService struct{ s *Socket }

// NewKernelService returns the kernel interface of a socket.
func NewKernelService(s *Socket) *KernelService { return &KernelService{s} }

// Socket returns the socket.
func (k *KernelService) Socket() *Socket { return k.s }

// A KernelCall is a call that BeginCall, AcceptCall or ChargeAccept has given. It must be ended by EndCall.
type KernelCall struct {
	s      *Socket
	x      *tag // s.mu guards it
	notify func(*KernelCall)
}

// UserID returns the number that the application has given the call.
func (c *KernelCall) UserID() uint64 { return c.x.id }

// Peer returns the address of the other side with the service that the call is of: after an upgrade the
// new one.
func (c *KernelCall) Peer() rxrpc.Addr {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.x.peer
}

// BeginParams is what a call is begun with.
type BeginParams struct {
	// Peer is where the call goes; without it where the socket is connected to.
	Peer rxrpc.Addr
	// Key is the description of the agent's key that secures the call instead of the socket's; NoKey: none does (rxrpc_get_null_key).
	Key    string
	NoKey  bool
	UserID uint64

	TxLength    int64 // how much will be sent, if HasTxLength
	HasTxLength bool
	Timeouts    rxrpc.Timeouts
	Upgrade     bool
	Exclusive   bool

	// Notify, if it is set, is told that there is news of the call, for RecvData; nothing of it goes to
	// the interceptor or to Recvmsg then. It must only wake somebody: it is called by the goroutine that reads the bus.
	Notify func(*KernelCall)
}

// call makes the KernelCall of a tag that is asked for; nil if the tag is in use, about which the agent has its say.
func (k *KernelService) call(id uint64, peer rxrpc.Addr, charge bool, notify func(*KernelCall)) *KernelCall {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &KernelCall{s: s, notify: notify, x: &tag{id: id, known: true, room: s.window, peer: peer, charge: charge}}
	if s.tags[id] == nil {
		c.x.kernel = c
		s.tags[id] = c.x
	}
	return c
}

// drop forgets a call that has come to nothing.
func (k *KernelService) drop(c *KernelCall) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.s.release(c.x)
}

// BeginCall begins a client's call. Nothing is sent yet. It waits for a channel until ctx ends.
func (k *KernelService) BeginCall(ctx context.Context, p BeginParams) (*KernelCall, error) {
	b := rxmsg.BeginCall{
		KeyDescription: []byte(p.Key), TxLength: p.TxLength, HasTxLength: p.HasTxLength, Upgrade: p.Upgrade, Exclusive: p.Exclusive, Timeouts: p.Timeouts,
	}
	if p.Peer != (rxrpc.Addr{}) {
		b.Name = p.Peer.AppendRaw(nil)
	}
	if p.NoKey {
		r, _, err := k.s.ask(ctx, "begin call", rxmsg.Header{Op: rxmsg.OpNullKey}, nil)
		if err != nil {
			return nil, err
		}
		b.Key = r.Value
	}
	body, err := b.Append(nil)
	if err != nil {
		return nil, &rxrpc.SocketError{Op: "begin call", Err: err}
	}
	c := k.call(p.UserID, p.Peer, false, p.Notify)
	_, _, err = k.s.ask(ctx, "begin call", rxmsg.Header{Op: rxmsg.OpBeginCall, Arg: p.UserID}, body)
	if err == nil {
		return c, nil
	}
	mine := c.x.kernel == c // or the number is another call's
	if ctx.Err() != nil {
		if mine { // the agent may begin it yet
			k.end(p.UserID)
		}
		err = interrupted("begin call", ctx)
	}
	if mine {
		k.drop(c)
	}
	return nil, err
}

// EndCall ends the use of a call: it is aborted by RX_CALL_DEAD unless it is over, or a server's whose reply was sent to its
// end. Its number is free, and nothing of it is seen any more.
func (k *KernelService) EndCall(c *KernelCall) {
	k.end(c.x.id)
	k.drop(c)
}

func (k *KernelService) end(id uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_, _, _ = k.s.ask(ctx, "end call", rxmsg.Header{Op: rxmsg.OpEndCall, Arg: id}, nil)
}

// SendData sends a piece of the request, or of the reply: the last one unless more is set. Errors as Sendmsg.
func (k *KernelService) SendData(ctx context.Context, c *KernelCall, data []byte, more bool) (int, error) {
	k.s.mu.Lock()
	gone := c.x.gone
	k.s.mu.Unlock()
	if gone {
		return 0, of(k.s.errno("sendmsg", syscall.ESHUTDOWN, "the call is over"), c.x.id)
	}
	m := rxrpc.Msg{Control: rxrpc.Control{CallID: c.x.id, HasCallID: true}, Data: data}
	if more {
		m.Flags = rxrpc.MsgMore
	}
	return k.s.Sendmsg(ctx, m)
}

// about makes a request about a call, whose completion is all that there is to say.
func (k *KernelService) about(c *KernelCall, op rxmsg.Op, name string, body []byte) (rxmsg.Reply, []byte, error) {
	return k.s.ask(k.s.c.ctx, name, rxmsg.Header{Op: op, Arg: c.x.id}, body)
}

// AbortCall aborts a call with a code, and reports whether there was something to abort.
func (k *KernelService) AbortCall(c *KernelCall, code int32) bool {
	r, _, err := k.about(c, rxmsg.OpAbortCall, "abort call", rxmsg.AppendU32(nil, uint32(code)))
	return err == nil && r.Value == 1
}

// SetTxLength announces how many bytes will be sent. Errors: EINVAL if that was said before or something was sent, ESHUTDOWN.
func (k *KernelService) SetTxLength(c *KernelCall, n int64) error {
	_, _, err := k.about(c, rxmsg.OpSetTxLength, "set length", binary.NativeEndian.AppendUint64(nil, uint64(n)))
	return err
}

// CheckLife reports whether the call goes on, or has succeeded and data of it is left to be read.
func (k *KernelService) CheckLife(c *KernelCall) bool {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	x := c.x
	return !x.gone && k.s.dead("check life") == nil && (!x.over || x.fail == nil && x.head < len(x.data))
}

// SRTT returns the smoothed round-trip time to the call's peer; false if none was measured.
func (k *KernelService) SRTT(c *KernelCall) (d time.Duration, ok bool) {
	_, b, err := k.about(c, rxmsg.OpSRTT, "srtt", nil)
	if err != nil || len(b) < 8 {
		return 0, false
	}
	d = time.Duration(binary.NativeEndian.Uint64(b))
	return d, d > 0
}

// AcceptCall takes the first call that waits (Socket.Listen). Errors: ENODATA if none does, EBADSLT for a number in use, ETIME and ECONNABORTED
// if the call has ended meanwhile.
func (k *KernelService) AcceptCall(userID uint64) (*KernelCall, error) {
	return k.take(rxmsg.OpAcceptCall, "accept", userID, nil)
}

// ChargeAccept gives a call that will come a number, and who is told of it (BeginParams.Notify). Errors: ESHUTDOWN if the socket does not
// listen, EBADSLT for a number in use, ENOBUFS for a full backlog.
func (k *KernelService) ChargeAccept(userID uint64, notify func(*KernelCall)) (*KernelCall, error) {
	return k.take(rxmsg.OpChargeAccept, "charge", userID, notify)
}

func (k *KernelService) take(op rxmsg.Op, name string, id uint64, notify func(*KernelCall)) (*KernelCall, error) {
	c := k.call(id, rxrpc.Addr{}, op == rxmsg.OpChargeAccept, notify)
	if _, _, err := k.about(c, op, name, nil); err != nil {
		if c.x.kernel == c {
			k.drop(c)
		}
		return nil, err
	}
	return c, nil
}

// RejectCall refuses the first call that waits, by BUSY. Errors: ENODATA, ETIME, ECONNABORTED.
func (k *KernelService) RejectCall() error {
	return k.s.do("reject", rxmsg.Header{Op: rxmsg.OpRejectCall}, nil)
}

// RecvData reads the data of a call with Notify into p, without waiting: see rxrpc.KernelService.RecvData.
func (k *KernelService) RecvData(c *KernelCall, p []byte, wantMore bool) (n, status int, err error) {
	x, s := c.x, k.s
	refuse := func(errno syscall.Errno, why string) error {
		return of(s.errno("receive", errno, why), x.id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case x.fail != nil:
		return 0, 0, of(&rxrpc.SocketError{Op: "receive", Err: x.fail}, x.id)
	case s.down != nil:
		return 0, 0, of(s.dead("receive"), x.id)
	}
	n, empty := x.read(p)
	client := x.flags&rxrpc.MsgEOR != 0
	end := empty && x.any && x.flags&rxrpc.MsgMore == 0
	s.consumed(x, n) // lets go of s.mu: what comes meanwhile is of the next time
	switch {
	case n < len(p) && end:
		return n, 0, refuse(syscall.EBADMSG, "the data ends before")
	case n < len(p), !end && empty && !wantMore:
		return n, 0, refuse(syscall.EAGAIN, "more has to arrive")
	case end && client:
		return n, rxrpc.RecvEnd, nil
	case end:
		return n, rxrpc.RecvRequest, nil
	case !wantMore:
		return n, 0, refuse(syscall.EMSGSIZE, "more data than wanted")
	}
	return n, rxrpc.RecvMore, nil
}
