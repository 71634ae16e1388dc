package rxagent

import (
	"errors"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// posting is a call of which a client posts several messages: what it must be told of them, and must not exceed.
type posting struct {
	out   int // bytes that the endpoint has not taken
	taken int // that the client was not told of
}

// A sending is a message on its way into the endpoint.
type sending struct {
	k     *sock
	r     request            // without its data
	d     connector.Delivery // of r
	tag   uint64
	size  int   // of the data
	cost  int64 // of what the owner may have posted
	more  bool
	post  *posting
	buf   *[]byte // of data; nil: it is in small
	small []byte
	sub   rxrpc.Submission

	mu   sync.Mutex // guards what follows, and r.p
	over bool
}

// sendmsg does SENDMSG, in the callback or in the lane.
func (k *sock) sendmsg(r *request) {
	m, err := rxmsg.ParseMsg(r.body)
	var msg rxrpc.Msg
	if err == nil {
		msg, err = k.message(&m)
	}
	if err != nil {
		k.o.fail(r, err)
		return
	}
	k.submit(r, &msg)
}

// message is a message as the socket takes it, with the checks of the policy.
func (k *sock) message(m *rxmsg.Msg) (msg rxrpc.Msg, err error) {
	msg = rxrpc.Msg{Flags: m.Flags, Data: m.Data}
	if msg.Control, err = rxrpc.ParseControl(m.Control); err == nil && len(m.Name) > 0 {
		if msg.Name, err = k.address(m.Name); err == nil {
			err = k.mayCall(msg.Name)
		}
	}
	if err != nil && msg.Control.HasCallID {
		return msg, k.tagged(err, msg.Control.CallID)
	}
	return msg, err
}

// tagged is an error of a call, which says whether there is one.
func (k *sock) tagged(err error, tag uint64) error {
	return &rxrpc.SocketError{Op: "sendmsg", Err: err, CallID: tag, HasCallID: true, NoCall: !k.s.Window(tag, 0)}
}

// submit hands a message to the socket.
func (k *sock) submit(r *request, m *rxrpc.Msg) {
	x := k.o.a.sendings.Get().(*sending)
	x.k, x.tag, x.size, x.more = k, m.Control.CallID, len(m.Data), m.Flags&rxrpc.MsgMore != 0
	x.d = *r.d
	x.d.Msg.Data = nil
	x.r = request{d: &x.d, h: r.h, within: r.within, p: r.p, leave: r.leave}
	if r.noReply() {
		m.Flags &^= rxrpc.MsgDontWait // nobody would learn how much was taken
	}
	if r.d.More {
		m.Flags |= rxrpc.MsgBatch
	}
	if err := x.hold(m); err != nil {
		k.o.fail(r, k.tagged(err, x.tag))
		x.abandon()
		return
	}
	if !x.more {
		k.mu.Lock()
		k.ends++
		k.mu.Unlock()
	}
	waits := !x.once()
	k.s.SubmitInto(&x.sub, *m, x.r.h.Flags&rxmsg.FlagFurther != 0, x)
	if waits {
		x.waits()
	}
}

// once reports whether nobody asks for x any more when it has succeeded, which may be before Submit returns.
func (x *sending) once() bool { return x.r.noReply() && x.r.within == 0 }

// recycle gives x back.
func (x *sending) recycle() {
	a := x.k.o.a
	*x = sending{small: x.small[:0]}
	a.sendings.Put(x)
}

// hold takes the data into memory of its own, if that is not too much.
func (x *sending) hold(m *rxrpc.Msg) error {
	k, o := x.k, x.k.o
	if m.Control.Command == rxrpc.CtlAbort { // who can post nothing more can still give up
		m.Data, x.size = nil, 0
		return nil
	}
	x.cost = int64(x.size) + overhead
	if err := o.addBytes(x.cost); err != nil {
		x.size, x.cost = 0, 0
		return err
	}
	if len(m.Data) == 0 {
		return nil
	}
	if x.r.noReply() {
		k.mu.Lock()
		p := k.posting[x.tag]
		if p == nil && x.more {
			p = new(posting)
			k.posting[x.tag] = p
		}
		over := false
		if p != nil {
			p.out += x.size
			over = p.out > o.a.cfg.SendWindow
			x.post = p
		}
		k.mu.Unlock()
		if over {
			return errno(syscall.ENOBUFS, "more than the send window was posted")
		}
	}
	const small = 2 << 10
	if len(m.Data) <= small {
		x.small = append(x.small[:0], m.Data...)
		m.Data = x.small
		return nil
	}
	x.buf = o.a.bufs.Get().(*[]byte)
	*x.buf = append((*x.buf)[:0], m.Data...)
	m.Data = *x.buf
	return nil
}

// overhead is what a message costs besides its data: it may have none, and must be remembered all the same.
const overhead = 1 << 10

// letGo gives back what hold took.
func (x *sending) letGo() {
	if x.buf != nil {
		x.k.o.a.bufs.Put(x.buf)
		x.buf = nil
	}
	x.k.o.dropBytes(x.cost)
}

// abandon ends a call of which a posted message could not be taken: the peer must not get a request with a gap.
func (x *sending) abandon() {
	x.letGo()
	if x.r.noReply() {
		x.k.callEnded(x.tag)
		x.abort()
	}
}

// abort ends the call; that there is none does not matter.
func (x *sending) abort() {
	c := rxrpc.Control{CallID: x.tag, HasCallID: true, Command: rxrpc.CtlAbort, Code: rxrpc.UserAbort}
	x.k.s.Submit(rxrpc.Msg{Control: c}, nil)
}

// waits makes a message that is not done yet one that can be given up.
func (x *sending) waits() {
	x.mu.Lock()
	if x.over {
		x.mu.Unlock()
		return
	}
	p := x.k.o.pend(&x.r)
	x.mu.Unlock()
	p.by(func(no syscall.Errno, told func(bool)) { x.sub.Cancel(no, told) })
}

// Submitted is told by the endpoint, perhaps in the middle of the protocol.
func (x *sending) Submitted(n int, err error) {
	k, o := x.k, x.k.o
	o.a.counters.sent.Add(uint64(n))
	if !x.more {
		k.finished()
	}
	if x.r.noReply() {
		if x.post != nil {
			k.taken(x, err)
		}
		if x.r.within > 0 {
			x.settle()
			if err == nil {
				x.r.p.done()
			}
		}
		x.letGo()
		switch {
		case err != nil:
			o.fail(&x.r, err)
			x.gap(err)
		case x.once():
			x.recycle()
		}
		return
	}
	x.settle()
	x.letGo()
	p := rxmsg.Reply{Value: uint32(n)}
	var text []byte
	if err != nil {
		o.a.counters.refused.Add(1)
		var why string
		p.Errno, why = errnoOf(err)
		text = []byte(why)
	}
	o.complete(&x.r, p, text)
}

// gap ends a call of which a posted message was not taken, or not all of it. After the last (EPROTO) nothing is missing.
func (x *sending) gap(err error) {
	var e *rxrpc.SocketError
	if x.size > 0 && errors.As(err, &e) && !e.NoCall && !errors.Is(err, syscall.EPROTO) && x.k.o.ctx.Err() == nil {
		x.k.o.replies.put(&x.k.o.a.wg, 0, x.abort)
	}
}

// settle is before the request is completed: nobody begins to wait for it any more.
func (x *sending) settle() {
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
}

// taken tells the client, when it is time to, how much of what it has posted was taken.
func (k *sock) taken(x *sending, err error) {
	p := x.post
	k.mu.Lock()
	p.out -= x.size
	p.taken += x.size
	n := 0
	switch {
	case err != nil || !x.more:
		if k.posting[x.tag] == p {
			delete(k.posting, x.tag)
		}
	case p.taken >= k.o.a.cfg.SendWindow/2:
		n, p.taken = p.taken, 0
	}
	k.mu.Unlock()
	if n > 0 {
		k.o.send(outgoing{k: k, h: rxmsg.Header{Op: rxmsg.EventSent, Flags: rxmsg.FlagTag, Sock: k.n, Arg: x.tag}, body: rxmsg.AppendU32(nil, uint32(n))})
	}
}

// callEnded forgets what a call that has ended had.
func (k *sock) callEnded(tag uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.posting, tag)
	k.handles.forget(tag)
}
