package rxrpc

import (
	"errors"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A Submission is a message that Submit has taken and that may not be done yet.
type Submission struct {
	x       *sockCall
	m       Msg
	done    func(n int, err error)
	sink    SubmissionSink
	further bool // it begins no call

	// Of the owner of the endpoint.
	n       int // bytes that were taken
	params  proto.CallParams
	begin   bool // params are of the call that begins with it
	started bool
	over    bool
}

// A SubmissionSink is told of the end of what SubmitInto has submitted.
type SubmissionSink interface {
	// Submitted is what done of Submit is. The Submission may be used again from then on, but if Cancel may be called.
	Submitted(n int, err error)
}

// Submit is Sendmsg for who must not wait: the endpoint takes the data as there is room for it, and done is called once, with what
// Sendmsg would have returned. The data must not change until then. It may be called before Submit returns, and otherwise
// in the middle of the protocol: it must only note what it is told, and must not call the socket.
//
// Messages of one call are done in the order of their submission; unlike Sendmsg, Submit takes further ones while the first waits for a
// channel. CtlAbort goes ahead of them, and they fail with ESHUTDOWN. EAGAIN if a Sendmsg of the call is at work.
//
// The Submission is for giving up.
func (s *Socket) Submit(m Msg, done func(n int, err error)) *Submission {
	return s.submit(&Submission{m: m, done: done})
}

// SubmitMore is Submit for a call that there is: it begins none, but fails with EBADSLT.
func (s *Socket) SubmitMore(m Msg, done func(n int, err error)) *Submission {
	return s.submit(&Submission{m: m, done: done, further: true})
}

// SubmitInto is Submit, or SubmitMore for what is further, that allocates nothing but what the call needs: the Submission is the caller's,
// who leaves it alone until sink is told.
func (s *Socket) SubmitInto(u *Submission, m Msg, further bool, sink SubmissionSink) {
	*u = Submission{m: m, further: further, sink: sink}
	s.submit(u)
}

func (s *Socket) submit(u *Submission) *Submission {
	c := &u.m.Control
	fail := func(err error) *Submission {
		u.finish(s.noCall(c, err))
		return u
	}
	if u.m.Flags&MsgOOB != 0 {
		return fail(sockErr("sendmsg", syscall.EOPNOTSUPP, "MSG_OOB"))
	}
	if err := c.check(); err != nil {
		return fail(&SocketError{Op: "sendmsg", Err: err})
	}
	if u.m.Name != (Addr{}) {
		if err := s.checkAddr("sendmsg", u.m.Name); err != nil {
			return fail(err)
		}
	}
	switch c.Command {
	case CtlAccept:
		x, err := s.firstPending("accept", c.CallID, true)
		if err != nil {
			return fail(err)
		}
		x.e.post(func(now proto.Time) { u.finish(x.accept(now, nil)) })
		return u
	case CtlChargeAccept:
		x, err := s.newCharge(c.CallID, nil)
		if err != nil {
			return fail(err)
		}
		x.e.post(func(now proto.Time) { u.finish(x.charge(now)) })
		return u
	}
	s.mu.Lock()
	errno, why := syscall.Errno(0), ""
	x := s.calls[c.CallID]
	switch {
	case s.closed:
		errno, why = syscall.EBADF, "the socket is closed"
	case s.shut:
		errno, why = syscall.EPIPE, "shut down"
	case x == nil && (c.Command == CtlAbort || u.further):
		errno, why = errBadSlot, "no such call"
	case x == nil: // it begins one
	case x.phase == callCharged:
		errno, why = syscall.EBUSY, "no call has taken the tag yet"
	case x.ended || x.phase == callGone:
		errno, why = syscall.ESHUTDOWN, "the call is over"
	case c.Command == CtlAbort:
	case len(x.subs) == 0 && x.sending:
		errno, why = syscall.EAGAIN, "the call is being sent to"
	case len(x.subs) == 0 && x.phase == callStarting:
		errno, why = syscall.EBUSY, "the call waits for a channel"
	}
	if errno != 0 {
		ended := x != nil && x.ended
		s.mu.Unlock()
		e := sockErr("sendmsg", errno, why).of(c.CallID)
		e.Ended = ended
		return fail(e)
	}
	if x == nil {
		key, level := s.key, s.level
		s.mu.Unlock()
		s.submitFirst(u, newCallParams{key: key, level: level})
		return u
	}
	if c.Command == CtlAbort {
		s.mu.Unlock()
		u.x = x
		x.e.post(func(now proto.Time) {
			if x.pc == nil {
				u.finish(sockErr("sendmsg", syscall.ESHUTDOWN, "the call is over").of(x.id))
				return
			}
			x.pc.Abort(now, wire.AbortCode(c.Code))
			u.finish(nil)
		})
		return u
	}
	u.x = x
	batch := u.m.Flags&MsgBatch != 0
	x.subs = append(x.subs, u)
	x.sending = true
	s.mu.Unlock()
	x.run(batch)
	return u
}

// noCall says in an error that there is no such call, if so.
func (s *Socket) noCall(c *Control, err error) error {
	var e *SocketError
	if errors.As(err, &e) && c.HasCallID {
		s.mu.Lock()
		e.NoCall = s.calls[c.CallID] == nil
		s.mu.Unlock()
		return e.of(c.CallID)
	}
	return err
}

// submitFirst begins a call.
func (s *Socket) submitFirst(u *Submission, np newCallParams) {
	x, p, err := s.admit(&u.m, np)
	if err != nil {
		u.finish(s.noCall(&u.m.Control, err))
		return
	}
	u.x, u.params, u.begin = x, p, true
	batch := u.m.Flags&MsgBatch != 0
	s.mu.Lock()
	x.subs = append(x.subs, u)
	s.mu.Unlock()
	x.run(batch)
}

// run has the owner do what was submitted, which may be done already.
func (x *sockCall) run(batch bool) {
	if batch {
		x.e.putLater(task{x: x})
	} else {
		x.e.put(task{x: x})
	}
}

// finish tells how it went, once.
func (u *Submission) finish(err error) {
	if u.over {
		return
	}
	u.over = true
	switch {
	case u.sink != nil:
		u.sink.Submitted(u.n, err)
	case u.done != nil:
		u.done(u.n, err)
	}
}

// Cancel gives the submission up with err, unless it is done; told, if it is set, is told which, as done would be. What was taken
// stays taken; a call that was to begin with it does not.
func (u *Submission) Cancel(err error, told func(cancelled bool)) {
	if told == nil {
		told = func(bool) {}
	}
	x := u.x
	if x == nil { // it was refused
		told(false)
		return
	}
	x.e.post(func(now proto.Time) {
		if u.over || !x.withdraw(u) {
			told(false)
			return
		}
		first := u.begin || u.started && x.waitsForChannel()
		e := (&SocketError{Op: "sendmsg", Err: err, NoCall: first}).of(x.id)
		u.finish(e)
		told(true)
		if first {
			x.end(now)
			x.s.discard(x)
			x.failAll(e)
			return
		}
		x.advance(now)
	})
}

// withdraw takes u out of the queue; false if it is not there.
func (x *sockCall) withdraw(u *Submission) bool {
	s := x.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, v := range x.subs {
		if v == u {
			x.subs = append(x.subs[:i:i], x.subs[i+1:]...)
			x.unsend()
			return true
		}
	}
	return false
}

func (x *sockCall) waitsForChannel() bool {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.phase == callStarting
}

// unsend lets others send when nothing is submitted; s.mu is held.
func (x *sockCall) unsend() {
	if len(x.subs) == 0 {
		x.subs = x.oneSub[:0]
		x.sending = false
		x.tx.open()
	}
}

// advance does what was submitted, as far as there is room for it. The owner calls it.
func (x *sockCall) advance(now proto.Time) {
	for {
		s := x.s
		s.mu.Lock()
		if len(x.subs) == 0 {
			s.mu.Unlock()
			return
		}
		u := x.subs[0]
		s.mu.Unlock()
		done, err := u.step(now)
		if !done {
			return
		}
		starting := false
		s.mu.Lock()
		if len(x.subs) > 0 && x.subs[0] == u {
			x.subs[0] = nil
			x.subs = x.subs[1:]
			x.unsend()
		}
		if starting = err != nil && x.phase == callStarting; starting {
			s.release(x)
		}
		s.mu.Unlock()
		if starting {
			err = s.noCall(&u.m.Control, err)
		}
		u.finish(err)
		if starting { // there is no call
			x.end(now)
			x.failAll(err)
			return
		}
	}
}

// failAll ends what is submitted.
func (x *sockCall) failAll(err error) {
	x.s.mu.Lock()
	subs := slices.Clone(x.subs)
	x.subs = nil
	x.unsend()
	x.s.mu.Unlock()
	for _, u := range subs {
		u.finish(err)
	}
}

// step does what can be done of u, and reports whether that is all. The owner calls it.
func (u *Submission) step(now proto.Time) (done bool, err error) {
	x, s := u.x, u.x.s
	defer func() {
		if err != nil {
			e := (&SocketError{Op: "sendmsg", Err: err}).of(x.id)
			s.mu.Lock()
			e.Ended = x.ended && x.phase == callLive
			s.mu.Unlock()
			err = e
		}
	}()
	if u.begin {
		u.begin, u.started = false, true
		if err := x.start(now, &u.params); err != nil {
			return true, err
		}
	}
	s.mu.Lock()
	failed, times := x.ended || x.phase == callGone, x.times
	switch {
	case s.closed:
		err = errSocketClosed
	case x.ended:
		if err = x.failure(); err == nil {
			err = proto.ErrEnded
		}
	case x.phase == callGone:
		err = proto.ErrEnded
	case x.phase == callStarting && x.channel:
		x.phase = callLive
		s.tell(x)
	case x.phase == callStarting && u.m.Flags&MsgDontWait != 0:
		err = &errnoError{"no channel is free", syscall.EAGAIN}
	}
	wait := x.phase == callStarting
	if !failed && !wait && !u.started && u.m.Control.HasTimeouts {
		times = x.setTimeouts(u.m.Control.Timeouts)
	}
	s.mu.Unlock()
	switch {
	case err != nil:
		return true, err
	case wait:
		return false, nil
	case !u.started:
		u.started = true
		if err := x.prepare(now, &u.m.Control, times); err != nil {
			return true, err
		}
	}
	return u.feed(now)
}

// feed passes the data on as there is room for it.
func (u *Submission) feed(now proto.Time) (done bool, err error) {
	more := u.m.Flags&MsgMore != 0
	if more && u.n == len(u.m.Data) {
		return true, nil
	}
	if u.x.pc == nil {
		return true, proto.ErrEnded
	}
	k, err := u.x.pc.Send(now, u.m.Data[u.n:], more)
	u.n += k
	switch {
	case err == proto.ErrFull || err == nil && u.n < len(u.m.Data):
		if u.m.Flags&MsgDontWait == 0 {
			return false, nil
		}
		if u.n == 0 {
			return true, proto.ErrFull
		}
		return true, nil
	case err == proto.ErrEnded:
		u.x.s.mu.Lock()
		if why := u.x.failure(); u.x.ended && why != nil {
			err = why
		}
		u.x.s.mu.Unlock()
	}
	return true, err
}
