package rxagent

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// kernelOp does an operation of the kernel's interface that is done when it returns.
func (k *sock) kernelOp(r *request, p *rxmsg.Reply) (body []byte, err error) {
	tag := r.h.Arg
	switch r.h.Op {
	case rxmsg.OpIntercept:
		if k.intercepted.Swap(true) {
			return nil, errno(syscall.EBUSY, "there is an interceptor")
		}
		k.s.NarrowWindows(k.window)
		return nil, nil
	case rxmsg.OpDataDelivered, rxmsg.OpFree:
		return nil, k.delivered(uint32(tag))
	case rxmsg.OpAcceptCall, rxmsg.OpChargeAccept:
		return nil, k.take(r, tag)
	case rxmsg.OpRejectCall:
		return nil, k.kern.RejectCall()
	}
	c := k.kernelCall(tag)
	if c == nil && r.h.Op == rxmsg.OpEndCall && k.interrupt(tag, syscall.ECANCELED) {
		return nil, nil // it waits for a channel, and will not begin
	}
	if c == nil {
		return nil, &rxrpc.SocketError{Op: r.h.Op.String(), Err: errno(errBadSlot, "no such call"), CallID: tag, HasCallID: true}
	}
	switch r.h.Op {
	case rxmsg.OpEndCall:
		k.kern.EndCall(c)
		k.forget(tag)
	case rxmsg.OpAbortCall:
		code, err := rxmsg.ParseU32(r.body)
		if err != nil {
			return nil, err
		}
		if k.kern.AbortCall(c, int32(code)) {
			p.Value = 1
		}
	case rxmsg.OpSetTxLength:
		n, ok := u64(r.body)
		if !ok || int64(n) < 0 {
			return nil, errno(syscall.EINVAL, "length")
		}
		return nil, k.kern.SetTxLength(c, int64(n))
	case rxmsg.OpCheckLife:
		if k.kern.CheckLife(c) {
			p.Value = 1
		}
	case rxmsg.OpRecvData:
		if r.noReply() { // what it reads would be lost
			return nil, &rxrpc.SocketError{Op: "receive", Err: errno(syscall.EINVAL, "a request for data without a reply"), CallID: tag, HasCallID: true}
		}
		return k.recvData(c, tag, r.body)
	case rxmsg.OpSRTT:
		d, _ := k.kern.SRTT(c)
		body = binary.NativeEndian.AppendUint64(nil, uint64(d))
	default:
		return nil, errno(syscall.EOPNOTSUPP, fmt.Sprintf("operation %v", r.h.Op))
	}
	return body, nil
}

func (k *sock) kernelCall(tag uint64) *rxrpc.KernelCall {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kcalls[tag]
}

// keep remembers a call of the kernel's interface; k.mu is held.
func (k *sock) keep(tag uint64, c *rxrpc.KernelCall) {
	if k.kcalls == nil {
		k.kcalls = make(map[uint64]*rxrpc.KernelCall)
	}
	k.kcalls[tag] = c
}

// forget is the reverse; what was intercepted of it needs not be delivered any more.
func (k *sock) forget(tag uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.kcalls, tag)
	delete(k.posting, tag)
	k.handles.forget(tag)
	k.unnote(tag)
}

// take does ACCEPT_CALL and CHARGE_ACCEPT.
func (k *sock) take(r *request, tag uint64) error {
	op := r.h.Op
	var c *rxrpc.KernelCall
	var err error
	if op == rxmsg.OpAcceptCall {
		c, err = k.kern.AcceptCall(tag)
	} else {
		var notify func(*rxrpc.KernelCall)
		if flags, err := rxmsg.ParseU32(r.body); err == nil && flags&rxmsg.ChargeNotify != 0 {
			notify = k.newsOf
		}
		c, err = k.kern.ChargeAccept(tag, notify)
	}
	if err == nil {
		k.mu.Lock()
		k.keep(tag, c)
		k.mu.Unlock()
	}
	return err
}

// handle gives data that are sent to an interceptor a number. The last data of a call need none: no more can come.
func (k *sock) handle(tag uint64, n int, last bool) uint32 {
	if n == 0 || last {
		return 0
	}
	cost := max(n, leastCost)
	k.s.Window(tag, n-cost)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.handles.add(tag, cost)
}

// delivered does DATA_DELIVERED and FREE: once counts.
func (k *sock) delivered(n uint32) error {
	k.mu.Lock()
	tag, cost, ok := k.handles.take(n)
	k.mu.Unlock()
	if ok {
		k.s.Window(tag, cost)
	}
	return nil
}

// sendData does SEND_DATA.
func (k *sock) sendData(r *request) {
	flags, err := rxmsg.ParseU32(r.body)
	c := k.kernelCall(r.h.Arg)
	switch {
	case err != nil:
	case c == nil:
		err = &rxrpc.SocketError{Op: "send data", Err: errno(errBadSlot, "no such call"), CallID: r.h.Arg, HasCallID: true, NoCall: true}
	case rxrpc.MsgFlags(flags)&^rxrpc.MsgMore != 0:
		err = errno(syscall.EINVAL, fmt.Sprintf("flags %#x", flags))
	}
	if err != nil {
		k.o.fail(r, err)
		return
	}
	r.h.Flags |= rxmsg.FlagFurther
	m := rxrpc.Msg{Flags: rxrpc.MsgFlags(flags), Data: r.body[4:], Control: rxrpc.Control{CallID: r.h.Arg, HasCallID: true}}
	k.submit(r, &m)
}

// A begin is a BEGIN_CALL that waits for a channel.
type begin struct {
	cancel context.CancelFunc
	why    syscall.Errno // that it was given up with; of sock.mu
}

// beginCall does BEGIN_CALL, which waits for a channel on a goroutine of its own.
func (k *sock) beginCall(r *request) {
	p, err := k.beginParams(r)
	if err != nil {
		k.o.fail(r, err)
		return
	}
	ctx, cancel := context.WithCancel(k.o.ctx)
	b := &begin{cancel: cancel}
	k.mu.Lock()
	if k.begins == nil {
		k.begins = make(map[uint64]*begin)
	}
	_, used := k.begins[p.UserID]
	full := len(k.begins)+len(k.kcalls) >= k.o.a.cfg.Limits.Calls
	if !used && !full {
		k.begins[p.UserID] = b
	}
	k.mu.Unlock()
	if used || full {
		cancel()
		no, why := syscall.EEXIST, "another call begins with that number"
		if full {
			no, why = syscall.ENOBUFS, "too many calls"
		}
		k.o.fail(r, &rxrpc.SocketError{Op: "begin call", Err: errno(no, why), CallID: p.UserID, HasCallID: true})
		return
	}
	err = k.s.Settle(p.Peer) // here, where it may take a while, and not beside what the callback does
	r.p.by(func(no syscall.Errno, told func(bool)) { told(k.giveUp(p.UserID, b, no)) })
	k.o.a.wg.Go(func() {
		defer cancel()
		var c *rxrpc.KernelCall
		if err == nil {
			c, err = k.kern.BeginCall(ctx, p)
		}
		k.mu.Lock()
		delete(k.begins, p.UserID)
		why := b.why
		if err == nil && why == 0 {
			k.keep(p.UserID, c)
		}
		k.mu.Unlock()
		switch {
		case why != 0:
			if err == nil {
				k.kern.EndCall(c)
			}
			err = &rxrpc.SocketError{Op: "begin call", Err: errno(why, "given up"), CallID: p.UserID, HasCallID: true, NoCall: true}
		case err != nil && k.o.ctx.Err() != nil:
			err = k.o.errGone()
		}
		k.o.answer(r, rxmsg.Reply{}, nil, err)
	})
}

// giveUp gives up a BEGIN_CALL; false if the call has begun, or will not anyhow.
func (k *sock) giveUp(tag uint64, b *begin, no syscall.Errno) bool {
	k.mu.Lock()
	in := k.begins[tag] == b && b.why == 0
	if in {
		b.why = no
	}
	k.mu.Unlock()
	if in {
		b.cancel()
	}
	return in
}

// interrupt is giveUp for the call of that number; false if none begins.
func (k *sock) interrupt(tag uint64, no syscall.Errno) bool {
	k.mu.Lock()
	b := k.begins[tag]
	k.mu.Unlock()
	return b != nil && k.giveUp(tag, b, no)
}

// beginParams reads the body of BEGIN_CALL.
func (k *sock) beginParams(r *request) (p rxrpc.BeginParams, err error) {
	b, err := rxmsg.ParseBeginCall(r.body)
	if err != nil {
		return p, err
	}
	p = rxrpc.BeginParams{
		UserID: r.h.Arg, TxLength: b.TxLength, HasTxLength: b.HasTxLength, Timeouts: b.Timeouts, Upgrade: b.Upgrade, Exclusive: b.Exclusive,
	}
	if b.Notify {
		p.Notify = k.newsOf
	}
	if len(b.Name) > 0 {
		if p.Peer, err = k.address(b.Name); err != nil {
			return p, err
		}
		if err := k.mayCall(p.Peer); err != nil {
			return p, err
		}
	}
	p.Key, err = k.key(&b)
	return p, err
}

// key finds the key that BEGIN_CALL names; nil: none.
func (k *sock) key(b *rxmsg.BeginCall) (rxrpc.ClientKey, error) {
	o, keys := k.o, k.o.a.cfg.Keys
	if b.Key == 0 && len(b.KeyDescription) == 0 {
		return nil, nil
	}
	switch {
	case b.Key == nullKey:
		return rxrpc.NullKey(""), nil
	case keys == nil:
		return nil, errno(errNoKey, "this agent has no keys")
	}
	answered, err := o.ask()
	if err != nil {
		return nil, err
	}
	defer answered()
	if b.Key != 0 {
		return keys.Key(o.ctx, o.from, b.Key)
	}
	return keys.Source(o.from).RequestKey(string(b.KeyDescription))
}
