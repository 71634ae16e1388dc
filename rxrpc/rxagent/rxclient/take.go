package rxclient

import (
	"fmt"
	"syscall"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// autoTag is set in the tags that the agent gives the calls of a socket that accepts by itself.
const autoTag = 1 << 63

// event is of sink: it takes an event apart for the owner.
func (s *farSocket) event(h rxmsg.Header, body []byte) {
	i := item{s: s, what: h.Op, tag: h.Arg}
	var err error
	switch h.Op {
	case rxmsg.EventMsg:
		err = i.message(body)
	case rxmsg.EventSent:
		i.bytes, err = rxmsg.ParseU32(body)
	case rxmsg.EventError:
		var f rxmsg.Failure
		if f, err = rxmsg.ParseFailure(body); err == nil {
			if !f.HasTag {
				return // of a request that does not matter: a window of a call that is over
			}
			i.err = f.Err(h)
		}
	default:
		return // of a later version
	}
	if err != nil {
		s.fail(fmt.Errorf("an event of the agent makes no sense: %w: %w", err, ErrDown))
		return
	}
	s.e.note(i)
}

func (i *item) message(body []byte) error {
	m, err := rxmsg.ParseMsg(body)
	if err != nil {
		return err
	}
	if i.ctl, err = rxrpc.ParseReceivedControl(m.Control); err != nil {
		return err
	}
	if len(m.Name) > 0 {
		if i.name, err = rxrpc.ParseAddr(m.Name, 6); err != nil {
			return err
		}
	}
	if i.flags = m.Flags; i.ctl.HasCallID {
		i.tag = i.ctl.CallID
	}
	if sec, ok := rxmsg.FindSecurity(m.Control); ok {
		found := sec // or there is an object for each message
		i.sec = &found
	}
	switch {
	case i.ctl.Command != 0:
		i.err = endOf(&i.ctl, m.Control)
	case len(m.Data) > 0 || m.Flags&rxrpc.MsgMore == 0:
		i.buf = proto.CopyBuf(m.Data)
	}
	return nil
}

// fail is lost for what is noticed here: the agent still has the socket, whose port and services the next one is to have.
func (s *farSocket) fail(err error) {
	if !s.gone.Load() {
		s.e.c.discard(s.number)
	}
	s.lost(err)
}

// lost is of sink.
func (s *farSocket) lost(err error) {
	if !s.gone.Swap(true) {
		s.e.c.forget(s.number, s)
		s.e.put(item{s: s, lost: true, err: err})
	}
}

// ending is how a call has ended, as an error, until the owner has it.
type ending proto.Result

func (e *ending) Error() string { return e.Completion.String() }

var succeeded error = &ending{Completion: proto.Succeeded}

// endOf reads how a call has ended from its last message.
func endOf(c *rxrpc.Control, raw []byte) error {
	if c.Command == rxrpc.CtlAck {
		return succeeded
	}
	r := ending{Completion: proto.LocalError, Errno: syscall.EIO}
	switch c.Command {
	case rxrpc.CtlAbort:
		r = ending{Completion: proto.RemotelyAborted, Code: wire.AbortCode(c.Code), Errno: errnoAborted}
	case rxrpc.CtlBusy:
		r.Errno = syscall.EBUSY
	case rxrpc.CtlNetError:
		r = ending{Completion: proto.NetworkError, Errno: syscall.Errno(c.Code)}
	case rxrpc.CtlLocalError:
		r.Errno = syscall.Errno(c.Code)
	}
	if why, ok := rxmsg.FindReason(raw); ok {
		r.Completion = [...]proto.Completion{
			rxmsg.RemoteAbort: proto.RemotelyAborted, rxmsg.LocalAbort: proto.LocallyAborted,
			rxmsg.NetError: proto.NetworkError, rxmsg.LocalError: proto.LocalError,
		}[why.How]
		r.Errno = why.Errno
		if r.Code = wire.AbortCode(why.Code); why.Text != "" {
			r.Why = why.Text
		}
	}
	return &r
}

// takeIn is what the owner does with an event.
func (e *engine) takeIn(now proto.Time, i *item) {
	s := i.s
	if i.lost {
		e.lostSocket(s, i.err)
		return
	}
	if s.gone.Load() {
		if i.buf != nil {
			i.buf.Release()
		}
		return
	}
	c := s.calls[i.tag]
	if c == nil && s.svc != nil && i.tag&autoTag != 0 && i.what == rxmsg.EventMsg && i.flags&rxrpc.MsgEOR == 0 {
		c = s.arrived(i)
	}
	last := i.what == rxmsg.EventMsg && i.flags&rxrpc.MsgEOR != 0
	if last || i.what == rxmsg.EventError && c == over {
		delete(s.calls, i.tag)
	}
	if c == nil || c == over {
		if i.buf != nil {
			i.buf.Release()
		}
		return
	}
	switch i.what {
	case rxmsg.EventSent:
		c.room += int(i.bytes)
		c.canWrite()
	case rxmsg.EventError:
		c.refused(i.err)
	case rxmsg.EventMsg:
		c.message2(i, last)
	}
}

// message2 takes in what recvmsg would have returned.
func (c *farCall) message2(i *item, last bool) {
	if i.name.Service != 0 {
		c.service = i.name.Service // after an upgrade another one
	}
	if i.buf != nil {
		if c.released {
			i.buf.Release()
		} else {
			c.rx = append(c.rx, i.buf)
		}
		c.rxLast = c.rxLast || i.flags&rxrpc.MsgMore == 0
		c.tell(proto.Readable)
	}
	if !last {
		return
	}
	r := proto.Result{Completion: proto.Succeeded}
	if i.err != nil {
		r = proto.Result(*i.err.(*ending))
	}
	c.end(r)
	if c.released {
		v := c.s.svc
		if c.recycle(); v != nil && v.closed {
			v.drained()
		}
	}
}

// arrived begins a call of a client elsewhere.
func (s *farSocket) arrived(i *item) *farCall {
	e := s.e
	if s.svc.refusing || e.closed {
		s.abortTag(i.tag, wire.InvalidOperation)
		s.calls[i.tag] = over
		return over
	}
	c := e.newCall()
	c.tag, c.peer, c.service, c.sec = i.tag, i.name.Addr, i.name.Service, i.sec
	s.add(c)
	e.stats.ServiceCalls++
	c.tell(proto.Arrived)
	return c
}

// canWrite tells a writer that there is room.
func (c *farCall) canWrite() {
	if c.short {
		c.short = false
		c.tell(proto.Writable)
	}
}

// roomAgain is when everything that was to be posted has left.
func (e *engine) roomAgain(proto.Time) {
	for _, f := range e.clients() {
		f.s.roomAgain()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for v := range e.services {
		v.s.roomAgain()
	}
}

func (s *farSocket) roomAgain() {
	if s == nil {
		return
	}
	for _, c := range s.calls {
		if c != over {
			c.canWrite()
		}
	}
}

// refused ends a call of which the agent would not take something.
func (c *farCall) refused(err error) {
	e, ok := err.(*rxmsg.Error)
	switch {
	case !ok:
		return
	case !e.NoCall && e.Errno == syscall.ESHUTDOWN:
		return // the call is over, and why will be told
	}
	r := proto.Result{Completion: proto.LocalError, Errno: e.Errno, Err: err}
	s := c.s
	if c.fail(r); e.NoCall {
		delete(s.calls, e.Tag)
	}
}

// failAll ends all calls of the socket.
func (s *farSocket) failAll(r proto.Result) {
	for _, c := range s.calls {
		if c != over {
			c.fail(r)
		}
	}
}
