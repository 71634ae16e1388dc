package rxclient

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// minPatience is how long a Sendmsg with MsgWaitAll whose context has ended goes on waiting for a call to get on.
const minPatience = 100 * time.Millisecond

// Sendmsg is as rxrpc.Socket.Sendmsg. The first message of the data goes to the agent as a request, whose completion says what is wrong with it; the rest
// follows as far as the call's window lets it.
func (s *Socket) Sendmsg(ctx context.Context, m rxrpc.Msg) (int, error) {
	if m.Flags&rxrpc.MsgOOB != 0 {
		return 0, s.errno("sendmsg", syscall.EOPNOTSUPP, "MSG_OOB")
	}
	var name []byte
	if m.Name != (rxrpc.Addr{}) {
		name = m.Name.AppendRaw(nil)
	}
	return s.send(ctx, name, m.Control, m.Control.AppendRaw(nil), m.Data, m.Flags)
}

// SendmsgRaw is as rxrpc.Socket.SendmsgRaw. The agent reads the address and the control data.
func (s *Socket) SendmsgRaw(ctx context.Context, name, control, data []byte, flags rxrpc.MsgFlags) (int, error) {
	if len(name) > 0 {
		family := 4
		if s.family == rxrpc.Inet6 {
			family = 6
		}
		if _, err := rxrpc.ParseAddr(name, family); err != nil {
			return 0, &rxrpc.SocketError{Op: "sendmsg", Err: err}
		}
	}
	ctl, err := rxrpc.ParseControl(control)
	if err != nil {
		return 0, &rxrpc.SocketError{Op: "sendmsg", Err: err}
	}
	if flags&rxrpc.MsgOOB != 0 {
		return 0, s.errno("sendmsg", syscall.EOPNOTSUPP, "MSG_OOB")
	}
	return s.send(ctx, name, ctl, control, data, flags)
}

func (s *Socket) send(ctx context.Context, name []byte, ctl rxrpc.Control, control, data []byte, flags rxrpc.MsgFlags) (int, error) {
	id := ctl.CallID
	s.mu.Lock()
	if err := s.dead("sendmsg"); err != nil {
		s.mu.Unlock()
		return 0, of(err, id)
	}
	x := s.tags[id]
	begins := x == nil && ctl.Command != rxrpc.CtlAbort
	switch {
	case begins:
		x = &tag{id: id, known: true, room: s.window, charge: ctl.Command == rxrpc.CtlChargeAccept}
		if !s.shut {
			s.tags[id] = x
		}
	case x == nil:
		x = &tag{id: id, known: true}
	case x.over && (ctl.Command == 0 || ctl.Command == rxrpc.CtlAbort):
		s.mu.Unlock()
		return 0, of(s.errno("sendmsg", syscall.ESHUTDOWN, "the call is over"), id)
	case ctl.Command == 0:
		if err := s.mayGoOn(ctx, x, flags); err != nil {
			s.mu.Unlock()
			return 0, of(err, id)
		}
	}
	if ctl.Command == 0 {
		x.sending = true
	}
	// What was posted goes before what is asked, which would wait for it.
	full := !begins && flags&rxrpc.MsgDontWait != 0 && ctl.Command == 0 && len(data) > 0 && x.room < s.window
	s.mu.Unlock()
	n, err := 0, error(nil)
	if !full {
		n, err = s.sendFirst(ctx, x, name, control, data, flags)
	}
	if err == nil && n < len(data) && ctl.Command == 0 {
		var k int
		k, err = s.sendRest(ctx, x, data[n:], flags)
		if n += k; n == 0 && err == nil {
			err = of(s.errno("sendmsg", syscall.EAGAIN, "no room"), id)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctl.Command == 0 {
		x.sending = false
		x.tx.open()
	}
	var e *rxrpc.SocketError
	switch {
	case err == nil && ctl.Command == rxrpc.CtlAccept:
		s.answered()
	case err != nil && errors.As(err, &e):
		if ctl.Command == rxrpc.CtlAccept && !errors.Is(err, syscall.ENODATA) && !errors.Is(err, syscall.EISCONN) && !errors.Is(err, errnoBadSlot) {
			s.answered()
		}
		if begins && n == 0 && e.NoCall || begins && ctl.Command != 0 {
			s.release(x)
		}
	}
	return n, err
}

// mayGoOn waits until no other Sendmsg of the call is at work, and says what this side knows to be wrong. s.mu is held.
func (s *Socket) mayGoOn(ctx context.Context, x *tag, flags rxrpc.MsgFlags) *rxrpc.SocketError {
	for {
		switch {
		case x.gone || x.over:
			return s.errno("sendmsg", syscall.ESHUTDOWN, "the call is over")
		case !x.sending:
			return nil
		case flags&rxrpc.MsgDontWait != 0:
			return nil // as above: EBUSY, EEXIST, EAGAIN
		}
		if err := s.pause(ctx, "sendmsg", x.tx.wait()); err != nil {
			return err
		}
		if err := s.dead("sendmsg"); err != nil {
			return err
		}
	}
}

// sendFirst sends the first piece as a request. When ctx ends before the agent could take it, the piece is the agent's all the same, which sends it in
// its turn: it counts as taken.
func (s *Socket) sendFirst(ctx context.Context, x *tag, name, control, data []byte, flags rxrpc.MsgFlags) (int, error) {
	k := min(len(data), rxmsg.MaxData(len(name), len(control)))
	if k < 0 {
		return 0, of(s.errno("sendmsg", syscall.EMSGSIZE, "address and control data"), x.id)
	}
	m := rxmsg.Msg{Flags: flags &^ rxrpc.MsgOOB, Name: name, Control: control, Data: data[:k]}
	if k < len(data) {
		m.Flags |= rxrpc.MsgMore
	}
	b := rxmsg.Header{Op: rxmsg.OpSendmsg, Sock: s.number, Arg: x.id}.Append(make([]byte, 0, connectorMax))
	b, err := m.Append(b)
	if err != nil {
		return 0, &rxrpc.SocketError{Op: "sendmsg", Err: err}
	}
	patient, give := patiently(ctx)
	ev, err := s.c.request(patient, b)
	give()
	switch {
	case err != nil && patient.Err() != nil:
		return k, of(interrupted("sendmsg", ctx), x.id)
	case err != nil:
		if errors.Is(err, ErrDown) {
			s.fail(err)
		}
		return 0, of(s.fault("sendmsg", err), x.id)
	}
	r, _, err := completion(ev)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		e := of(s.fault("sendmsg", err), x.id)
		if x.fail != nil && !errors.Is(e, syscall.ESHUTDOWN) {
			e.Err = x.fail
		}
		return int(r.Value), e
	}
	if r.Value > uint32(k) {
		return 0, of(s.fault("sendmsg", ErrDown), x.id)
	}
	return int(r.Value), nil
}

// patiently returns a context that ends a moment after ctx: Sendmsg does not wait for more than a word of the agent then, as it
// would not for the endpoint of this process.
func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	p, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var t *time.Timer
	var mu sync.Mutex
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if p.Err() == nil {
			t = time.AfterFunc(minPatience, cancel)
		}
	})
	return p, func() {
		stop()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		if t != nil {
			t.Stop()
		}
	}
}

// sendRest posts what is left.
func (s *Socket) sendRest(ctx context.Context, x *tag, data []byte, flags rxrpc.MsgFlags) (int, error) {
	ctl := rxmsg.AppendTag(nil, x.id)
	b := make([]byte, 0, connectorMax)
	done, patience := ctx.Done(), (<-chan time.Time)(nil)
	for n := 0; ; {
		room, wake, err := s.roomOf(x)
		switch {
		case err != nil:
			return n, err
		case n == len(data):
			return n, nil
		case room > 0:
			k := min(len(data)-n, room, rxmsg.MaxData(0, len(ctl)))
			m := rxmsg.Msg{Control: ctl, Data: data[n : n+k], Flags: flags & rxrpc.MsgMore}
			if n+k < len(data) {
				m.Flags = rxrpc.MsgMore
			}
			b, _ = m.Append(rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply | rxmsg.FlagFurther, Sock: s.number, Arg: x.id}.Append(b[:0]))
			if err := s.c.post(ctx, s.number, b); err != nil {
				if ctx.Err() != nil {
					return n, of(interrupted("sendmsg", ctx), x.id)
				}
				return n, of(s.fault("sendmsg", s.c.busError(err)), x.id)
			}
			n += k
			s.mu.Lock()
			x.room -= k
			s.mu.Unlock()
			continue
		case flags&rxrpc.MsgDontWait != 0:
			return n, nil
		}
		if flags&rxrpc.MsgWaitAll != 0 && ctx.Err() != nil {
			t := time.NewTimer(minPatience)
			defer t.Stop()
			done, patience = nil, t.C
		}
		select {
		case <-wake:
		case <-patience:
			return n, of(interrupted("sendmsg", ctx), x.id)
		case <-done:
			if flags&rxrpc.MsgWaitAll == 0 {
				return n, of(interrupted("sendmsg", ctx), x.id)
			}
		}
	}
}

// roomOf returns how much may be posted of the call, and what tells of more.
func (s *Socket) roomOf(x *tag) (int, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch err := s.dead("sendmsg"); {
	case err != nil:
		return 0, nil, of(err, x.id)
	case s.shut:
		return 0, nil, of(s.errno("sendmsg", syscall.EPIPE, "shut down"), x.id)
	case x.fail != nil:
		return 0, nil, of(&rxrpc.SocketError{Op: "sendmsg", Err: x.fail}, x.id)
	case x.refused != nil && (x.gone || !errors.Is(x.refused, syscall.ESHUTDOWN)):
		return 0, nil, x.refused
	case x.refused != nil && !x.over: // why it has ended will be told
		return 0, x.tx.wait(), nil
	case x.over || x.gone:
		return 0, nil, of(s.errno("sendmsg", syscall.ESHUTDOWN, "the call is over"), x.id)
	}
	return x.room, x.tx.wait(), nil
}
