package rxrpc

import (
	"context"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Sendmsg sends data of the call that m.Control has the tag of, or does what its command says: CtlAbort, CtlAccept,
// CtlChargeAccept. A tag that no call has begins one, to m.Name or where Connect says. Data without MsgMore is the last: no data at all
// is fine, too. It returns when the endpoint has all of the data, which is the caller's again.
//
// With MsgDontWait it returns how much there was room for, EAGAIN if there was none. When ctx ends it gives up waiting, with
// what was taken and EINTR: the call goes on. With MsgWaitAll that is so only when the call does not get on for two round trips.
//
// Errors: section 5.5 of the project's reference, and docs/rxrpc.md, have the table.
func (s *Socket) Sendmsg(ctx context.Context, m Msg) (int, error) {
	c := &m.Control
	if m.Flags&MsgOOB != 0 {
		return 0, sockErr("sendmsg", syscall.EOPNOTSUPP, "MSG_OOB")
	}
	if err := c.check(); err != nil {
		return 0, &SocketError{Op: "sendmsg", Err: err}
	}
	if m.Name != (Addr{}) {
		if err := s.checkAddr("sendmsg", m.Name); err != nil {
			return 0, err
		}
	}
	switch c.Command {
	case CtlAccept:
		return 0, s.acceptCall(c.CallID, nil)
	case CtlChargeAccept:
		return 0, s.charge(c.CallID, nil)
	}
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return 0, (&SocketError{Op: "sendmsg", Err: errSocketClosed}).of(c.CallID)
	case s.shut:
		s.mu.Unlock()
		return 0, sockErr("sendmsg", syscall.EPIPE, "shut down").of(c.CallID)
	}
	x := s.calls[c.CallID]
	key, level := s.key, s.level
	s.mu.Unlock()
	switch {
	case x != nil:
		return x.send(ctx, &m)
	case c.Command == CtlAbort:
		return 0, sockErr("sendmsg", errBadSlot, "no such call").of(c.CallID)
	}
	return s.begin(ctx, &m, newCallParams{key: key, level: level})
}

// newCallParams is what a call has that is not in its first message.
type newCallParams struct {
	key    ClientKey
	level  uint8
	kernel *KernelCall
	quiet  bool // only begin it
}

// begin begins a client's call.
func (s *Socket) begin(ctx context.Context, m *Msg, np newCallParams) (int, error) {
	x, p, err := s.admit(m, np)
	if err != nil {
		return 0, err
	}
	x.e.do(func(now proto.Time) { err = x.start(now, &p) })
	if err != nil {
		s.discard(x)
		return 0, (&SocketError{Op: "sendmsg", Err: err}).of(x.id)
	}
	if err := x.awaitChannel(ctx, m.Flags); err != nil {
		x.e.do(x.end)
		s.discard(x)
		return 0, err
	}
	n := 0
	if !np.quiet {
		n, err = x.feed(ctx, m)
	}
	s.mu.Lock()
	x.sending = false
	x.tx.open()
	s.mu.Unlock()
	return n, err
}

// admit makes the call that a message of a client begins. It has the tag from then on, and is being
// sent to by whoever has begun it.
func (s *Socket) admit(m *Msg, np newCallParams) (*sockCall, proto.CallParams, error) {
	id := m.Control.CallID
	p := proto.CallParams{Exclusive: m.Control.Exclusive, Upgrade: m.Control.Upgrade, Timeouts: proto.Timeouts(m.Control.Timeouts)}
	p.TxLength, p.HasTxLength = m.Control.TxLength, m.Control.HasTxLength
	if np.key != nil {
		var err error
		if p.Security, err = np.key.Secure(np.level); err != nil {
			return nil, p, (&SocketError{Op: "sendmsg", Err: err}).of(id)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := m.Name
	if !to.Addr.IsValid() {
		to = s.peer
	}
	errno, why := syscall.Errno(0), ""
	switch {
	case s.closed:
		errno, why = syscall.EBADF, "the socket is closed"
	case s.state == serverBound2 || s.state == listenDisabled:
		errno, why = syscall.EINVAL, "a server that does not listen"
	case !to.Addr.IsValid() && s.state == serverListening && !s.charged:
		errno, why = errBadSlot, "no such call"
	case !to.Addr.IsValid():
		errno, why = syscall.EDESTADDRREQ, "no address"
	case s.calls[id] != nil:
		errno, why = syscall.EEXIST, "another call has begun with that tag"
	case s.cfg.MaxCalls > 0 && len(s.calls) >= s.cfg.MaxCalls:
		errno, why = syscall.ENOBUFS, "too many calls"
	}
	if errno != 0 {
		return nil, p, sockErr("sendmsg", errno, why).of(id)
	}
	err := s.autoBind()
	var e *Endpoint
	if err == nil {
		e, err = s.endpointFor(to.Addr)
	}
	if err != nil {
		return nil, p, err
	}
	x := (&sockCall{
		s: s, e: e, id: id, client: true, peer: to.Addr, service: to.Service, credit: s.cfg.Window,
		times: m.Control.Timeouts, hardFrom: time.Now(), sending: true,
	}).roomy()
	if err := x.count(); err != nil {
		return nil, p, (&SocketError{Op: "sendmsg", Err: err}).of(id)
	}
	x.tie(np.kernel)
	s.calls[id] = x
	p.Group = s.cfg.Group
	p.Exclusive = p.Exclusive || s.excl
	p.Peer, p.Service, p.Tag = to.Addr, wire.ServiceID(to.Service), x
	return x, p, nil
}

// start gives the call to the protocol. The owner calls it.
func (x *sockCall) start(now proto.Time, p *proto.CallParams) (err error) {
	s := x.s
	s.mu.Lock()
	gone := x.phase == callGone
	s.mu.Unlock()
	if gone {
		return errSocketClosed
	}
	if x.pc, err = x.e.p.NewCall(now, p); err != nil {
		return err
	}
	s.mu.Lock()
	x.begun = true
	x.channel = x.channel || x.pc.State() != proto.AwaitConn
	s.mu.Unlock()
	return nil
}

// awaitChannel waits until the call has a channel; then it is there for others.
func (x *sockCall) awaitChannel(ctx context.Context, flags MsgFlags) error {
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case x.phase == callGone:
			return (&SocketError{Op: "sendmsg", Err: errSocketClosed}).of(x.id)
		case x.ended:
			return (&SocketError{Op: "sendmsg", Err: x.failure()}).of(x.id)
		case x.channel:
			x.phase = callLive
			s.tell(x)
			return nil
		case flags&MsgDontWait != 0:
			return sockErr("sendmsg", syscall.EAGAIN, "no channel is free").of(x.id)
		}
		if err := s.pause(ctx, "sendmsg", x.tx.wait()); err != nil {
			return err.of(x.id)
		}
	}
}

// pause lets go of s.mu until c is closed or ctx ends.
func (s *Socket) pause(ctx context.Context, op string, c <-chan struct{}) *SocketError {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return interrupted(op, ctx)
	}
}

// send is Sendmsg for a call that is there.
func (x *sockCall) send(ctx context.Context, m *Msg) (int, error) {
	s, c := x.s, &m.Control
	refuse := func(errno syscall.Errno, why string) (int, error) {
		s.mu.Unlock()
		return 0, sockErr("sendmsg", errno, why).of(x.id)
	}
	s.mu.Lock()
	for {
		switch {
		case x.phase == callStarting && !x.begun:
			return refuse(syscall.EEXIST, "another call begins with that tag")
		case x.phase == callStarting && c.Command != CtlAbort:
			return refuse(syscall.EBUSY, "the call waits for a channel")
		case x.phase == callCharged:
			return refuse(syscall.EBUSY, "no call has taken the tag yet")
		case x.phase == callGone && s.closed:
			s.mu.Unlock()
			return 0, (&SocketError{Op: "sendmsg", Err: errSocketClosed}).of(x.id)
		case x.ended || x.phase == callGone:
			return refuse(syscall.ESHUTDOWN, "the call is over")
		}
		if !x.sending || c.Command == CtlAbort {
			break
		}
		if m.Flags&MsgDontWait != 0 {
			return refuse(syscall.EAGAIN, "the call is being sent to")
		}
		if err := s.pause(ctx, "sendmsg", x.tx.wait()); err != nil {
			s.mu.Unlock()
			return 0, err.of(x.id)
		}
	}
	times := x.times
	if c.Command == CtlAbort {
		s.mu.Unlock()
		return 0, x.abort(wire.AbortCode(c.Code))
	}
	x.sending = true
	if c.HasTimeouts {
		times = x.setTimeouts(c.Timeouts)
	}
	s.mu.Unlock()
	var n int
	var err error
	x.e.do(func(now proto.Time) { err = x.prepare(now, c, times) })
	if err == nil {
		n, err = x.feed(ctx, m)
	} else {
		err = (&SocketError{Op: "sendmsg", Err: err}).of(x.id)
	}
	s.mu.Lock()
	x.sending = false
	x.tx.open()
	s.mu.Unlock()
	return n, err
}

// setTimeouts changes those that are not 0 in t, and returns what they are, counted from now. s.mu is held.
func (x *sockCall) setTimeouts(t Timeouts) Timeouts {
	now := time.Now()
	if t.Hard != 0 {
		x.times.Hard, x.hardFrom = t.Hard, now
	}
	if t.Idle != 0 {
		x.times.Idle = t.Idle
	}
	if t.Normal != 0 {
		x.times.Normal = t.Normal
	}
	times := x.times
	if times.Hard > 0 {
		times.Hard = max(times.Hard-now.Sub(x.hardFrom), 1)
	}
	return times
}

// abort aborts the call, which its end will tell.
func (x *sockCall) abort(code wire.AbortCode) error {
	err := error(sockErr("sendmsg", syscall.ESHUTDOWN, "the call is over").of(x.id))
	x.e.do(func(now proto.Time) {
		if x.pc != nil {
			x.pc.Abort(now, code)
			err = nil
		}
	})
	return err
}

// prepare does what the control messages want besides sending. The owner calls it.
func (x *sockCall) prepare(now proto.Time, c *Control, times Timeouts) error {
	pc := x.pc
	switch {
	case pc == nil:
		return proto.ErrEnded
	case pc.State() == proto.RecvRequest:
		return proto.ErrNotNow
	}
	if c.HasTxLength {
		if err := pc.SetTxLength(c.TxLength); err != nil {
			return err
		}
	}
	if c.HasTimeouts {
		pc.SetTimeouts(now, proto.Timeouts(times))
	}
	return nil
}

// feed passes the data on as there is room for it.
func (x *sockCall) feed(ctx context.Context, m *Msg) (n int, err error) {
	s, more := x.s, m.Flags&MsgMore != 0
	if more && len(m.Data) == 0 {
		return 0, nil
	}
	fail := func(err error) (int, error) {
		return n, (&SocketError{Op: "sendmsg", Err: err}).of(x.id)
	}
	for {
		s.mu.Lock()
		wake := x.tx.wait() // before it is tried
		s.mu.Unlock()
		k, full := 0, false
		var rtt time.Duration
		x.e.do(func(now proto.Time) {
			if err = proto.ErrEnded; x.pc != nil {
				k, err = x.pc.Send(now, m.Data[n:], more)
				rtt = x.pc.RTT()
			}
		})
		n += k
		full = err == proto.ErrFull || err == nil && n < len(m.Data)
		switch {
		case full:
		case err == proto.ErrEnded:
			s.mu.Lock()
			ended, why := x.ended, x.failure()
			s.mu.Unlock()
			if ended && why != nil {
				err = why
			}
			return fail(err)
		case err != nil:
			return fail(err)
		default:
			return n, nil
		}
		if m.Flags&MsgDontWait != 0 {
			if n > 0 {
				return n, nil
			}
			return fail(proto.ErrFull)
		}
		if err := x.awaitRoom(ctx, wake, m.Flags, rtt); err != nil {
			return fail(err)
		}
	}
}

// awaitRoom waits until there may be room.
func (x *sockCall) awaitRoom(ctx context.Context, wake <-chan struct{}, flags MsgFlags, rtt time.Duration) error {
	s := x.s
	done := ctx.Done()
	var patience <-chan time.Time
	if flags&MsgWaitAll != 0 && ctx.Err() != nil {
		done = nil
		t := time.NewTimer(max(2*rtt, minPatience))
		defer t.Stop()
		patience = t.C
	}
	select {
	case <-wake:
	case <-patience:
		return interrupted("sendmsg", ctx).Err
	case <-done:
		if flags&MsgWaitAll == 0 {
			return interrupted("sendmsg", ctx).Err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || x.phase == callGone:
		return errSocketClosed
	case s.shut:
		return &errnoError{"shut down", syscall.EPIPE}
	}
	return nil
}

// minPatience is how long MsgWaitAll waits at least for progress when its context has ended: two jiffies of 100 Hz.
const minPatience = 20 * time.Millisecond
