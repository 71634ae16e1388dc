package rxagent

import (
	"context"
	"encoding/binary"
	"fmt"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// kernelOp does an operation of the kernel's interface that is done when it returns.
func (k *sock) kernelOp(r *request, p *rxmsg.Reply) (body []byte, err error) {
	tag := r.h.Arg
	switch r.h.Op {
	case rxmsg.OpIntercept:
		if k.intercepted.Swap(true) {
			err = errno(syscall.EBUSY, "there is an interceptor")
		}
		return nil, err
	case rxmsg.OpDataDelivered, rxmsg.OpFree:
		return nil, k.delivered(uint32(tag))
	case rxmsg.OpAcceptCall, rxmsg.OpChargeAccept:
		return nil, k.take(r.h.Op, tag)
	case rxmsg.OpRejectCall:
		return nil, k.kern.RejectCall()
	}
	c := k.kernelCall(tag)
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

// keep remembers a call of the kernel's interface.
func (k *sock) keep(tag uint64, c *rxrpc.KernelCall) {
	k.mu.Lock()
	defer k.mu.Unlock()
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
	for n, h := range k.handles {
		if h.tag == tag {
			delete(k.handles, n)
		}
	}
}

// take does ACCEPT_CALL and CHARGE_ACCEPT.
func (k *sock) take(op rxmsg.Op, tag uint64) error {
	var c *rxrpc.KernelCall
	var err error
	if op == rxmsg.OpAcceptCall {
		c, err = k.kern.AcceptCall(tag)
	} else {
		c, err = k.kern.ChargeAccept(tag, nil)
	}
	if err == nil {
		k.keep(tag, c)
	}
	return err
}

// handle gives data that are sent to an interceptor a number.
func (k *sock) handle(tag uint64, n int) uint32 {
	if n == 0 {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.handles == nil {
		k.handles = make(map[uint32]handle)
	}
	for k.last++; k.last == 0 || k.handles[k.last].n != 0; k.last++ {
	}
	k.handles[k.last] = handle{tag, n}
	return k.last
}

// delivered does DATA_DELIVERED and FREE: once counts.
func (k *sock) delivered(n uint32) error {
	k.mu.Lock()
	h := k.handles[n]
	delete(k.handles, n)
	k.mu.Unlock()
	if h.n > 0 {
		k.s.Window(h.tag, h.n)
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

// beginCall does BEGIN_CALL, which waits for a channel on a goroutine of its own.
func (k *sock) beginCall(r *request) {
	p, err := k.beginParams(r)
	if err != nil {
		k.o.fail(r, err)
		return
	}
	ctx, cancel := context.WithCancelCause(k.o.ctx)
	timer := time.AfterFunc(maxDeadline, func() { cancel(syscall.ETIMEDOUT) })
	if r.within > 0 {
		timer.Reset(r.within)
	}
	k.o.cancellable(r, func(no syscall.Errno, told func(bool)) {
		cancel(no)
		told(true)
	})
	k.o.a.wg.Go(func() {
		defer cancel(nil)
		defer timer.Stop()
		c, err := k.kern.BeginCall(ctx, p)
		k.o.done(r)
		if err == nil {
			k.keep(p.UserID, c)
		} else if cause := context.Cause(ctx); cause != nil {
			err = &rxrpc.SocketError{Op: "begin call", Err: cause, CallID: p.UserID, HasCallID: true, NoCall: true}
		}
		k.mu.Lock()
		k.calls--
		k.mu.Unlock()
		k.o.answer(r, rxmsg.Reply{}, nil, err)
	})
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
	if len(b.Name) > 0 {
		if p.Peer, err = k.address(b.Name); err != nil {
			return p, err
		}
		if err := k.mayCall(p.Peer); err != nil {
			return p, err
		}
	}
	k.mu.Lock()
	full := k.calls+len(k.kcalls) >= k.o.a.cfg.Limits.Calls
	if !full {
		k.calls++
	}
	k.mu.Unlock()
	if full {
		return p, errno(syscall.ENOBUFS, "too many calls")
	}
	if p.Key, err = k.key(&b); err != nil {
		k.mu.Lock()
		k.calls--
		k.mu.Unlock()
	}
	return p, err
}

// key finds the key that BEGIN_CALL names; nil: none.
func (k *sock) key(b *rxmsg.BeginCall) (rxrpc.ClientKey, error) {
	o, keys := k.o, k.o.a.cfg.Keys
	if b.Key == 0 && len(b.KeyDescription) == 0 {
		return nil, nil
	}
	o.mu.Lock()
	null := o.nullKeys[b.Key]
	o.mu.Unlock()
	switch {
	case b.Key != 0 && null != nil:
		return null, nil
	case keys == nil:
		return nil, errno(errNoKey, "this agent has no keys")
	}
	o.usesKeys.Store(true)
	if b.Key != 0 {
		return keys.Key(o.ctx, o.from, b.Key)
	}
	return keys.Source(o.from).RequestKey(string(b.KeyDescription))
}
