package rxclient

import (
	"fmt"
	"slices"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A tag is a call of a Socket. The socket's mutex guards it.
type tag struct {
	id     uint64
	known  bool // it has a tag: it is no NEW_CALL
	charge bool // it waits for a call
	gone   bool // the tag is free
	queued bool // in rxq
	held   bool // a reader waits for more of it

	data    [][]byte // that has come, from head on
	handles []uint32 // of data that is to be delivered, as far as any is
	freed   []uint32 // of what was read
	head    int
	off     int                 // of the first
	flags   rxrpc.MsgFlags      // of the last
	any     bool                // there is a message to receive, which may have no data
	end     *rxrpc.Msg          // the last message, if it is one without data; or NEW_CALL
	over    bool                // the call has ended
	fail    error               // why, if it has failed
	peer    rxrpc.Addr          // of the newest message
	sec     *rxrpc.SecurityInfo // of the next data: who calls
	grant   int                 // bytes that were read and of which the agent does not know

	room    int // bytes that may be posted
	sending bool
	refused error // what the agent would not take of what was posted
	tx      gate

	kernel *KernelCall // that it is, of the kernel interface; or nil
}

// event is of sink.
func (s *Socket) event(h rxmsg.Header, body []byte) {
	var err error
	switch h.Op {
	case rxmsg.EventMsg:
		var m rxmsg.Msg
		if m, err = rxmsg.ParseMsg(body); err == nil {
			err = s.message(&m)
		}
	case rxmsg.EventSent:
		var n uint32
		if n, err = rxmsg.ParseU32(body); err == nil {
			s.taken(h.Arg, int(n))
		}
	case rxmsg.EventRx:
		err = s.intercepted(h.Arg, body)
	case rxmsg.EventError:
		var f rxmsg.Failure
		if f, err = rxmsg.ParseFailure(body); err == nil && f.HasTag {
			s.refusedPost(h.Arg, f.Err(h))
		}
	}
	if err != nil {
		s.fail(fmt.Errorf("an event of the agent makes no sense: %w: %w", err, ErrDown))
	}
}

// fail is lost for what is noticed here.
func (s *Socket) fail(err error) {
	s.mu.Lock()
	known := s.down != nil || s.closed
	s.mu.Unlock()
	if !known {
		s.c.discard(s.number)
	}
	s.lost(err)
}

// lost is of sink.
func (s *Socket) lost(err error) {
	s.c.forget(s.number, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down == nil {
		s.down = err
		s.wakeAll()
	}
}

// message takes in what recvmsg would have returned.
func (s *Socket) message(m *rxmsg.Msg) error {
	ctl, err := rxrpc.ParseReceivedControl(m.Control)
	if err != nil {
		return err
	}
	var told *KernelCall
	var name rxrpc.Addr
	if len(m.Name) > 0 {
		if name, err = rxrpc.ParseAddr(m.Name, 6); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer func() {
		s.mu.Unlock()
		if told != nil {
			told.notify(told)
		}
	}()
	var sec *rxrpc.SecurityInfo
	if i, ok := rxmsg.FindSecurity(m.Control); ok {
		found := i // or there is an object for each message
		sec = &found
	}
	if ctl.Command == rxrpc.CtlNewCall {
		x := &tag{end: &rxrpc.Msg{Name: name, Control: ctl, Flags: m.Flags, Security: sec}}
		s.news = append(s.news, x)
		s.tell(x)
		return nil
	}
	x := s.tags[ctl.CallID]
	switch {
	case x == nil && s.cfg.AutoAccept && ctl.CallID&rxrpc.AutoTag != 0 && ctl.Command == 0:
		x = &tag{id: ctl.CallID, known: true, room: s.window}
		s.tags[x.id] = x
	case x == nil:
		return nil
	}
	x.charge = false
	if name.Service != 0 {
		x.peer = name
	}
	switch {
	case ctl.Command == 0:
		if sec != nil {
			x.sec = sec
		}
		if len(m.Data) > 0 {
			x.data = append(x.data, append([]byte(nil), m.Data...))
		}
		x.any, x.flags = true, m.Flags
		x.over = m.Flags&rxrpc.MsgEOR != 0
	default:
		x.end = &rxrpc.Msg{Name: x.peer, Control: ctl, Flags: m.Flags}
		x.over = true
		if ctl.Command != rxrpc.CtlAck {
			x.end.Err = failure(endOf(&ctl, m.Control))
			x.fail = x.end.Err
			x.data, x.handles, x.head, x.off, x.any = nil, nil, 0, 0, false // calls that fail lose what was not read
		}
	}
	x.tx.open()
	s.tell(x)
	if x.kernel != nil && x.kernel.notify != nil {
		told = x.kernel
	}
	return nil
}

// taken takes in that the engine has more of what was posted.
func (s *Socket) taken(id uint64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.tags[id]; x != nil {
		x.room += n
		x.tx.open()
	}
}

// refusedPost takes in that the agent would not take what was posted.
func (s *Socket) refusedPost(id uint64, err *rxmsg.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.tags[id]
	if x == nil {
		return
	}
	if x.refused == nil {
		x.refused = s.fault("sendmsg", err)
	}
	if err.NoCall {
		s.release(x)
	}
	x.tx.open()
	s.rx.open()
}

// something reports whether there is something to receive of the call; s.mu is held.
func (x *tag) something() bool {
	return !x.gone && (x.any || x.end != nil) && (x.kernel == nil || x.kernel.notify == nil)
}

// tell puts the call into the queue of what can be received, if there is something; s.mu is held.
func (s *Socket) tell(x *tag) {
	if !x.something() {
		return
	}
	if !x.queued {
		x.queued = true
		s.rxq = append(s.rxq, x)
	}
	s.rx.open()
}

// next returns the first call with something to receive, and its place; s.mu is held.
func (s *Socket) next() (*tag, int) {
	for i := 0; i < len(s.rxq); {
		x := s.rxq[i]
		switch {
		case !x.something():
			s.unqueue(i)
		case x.held:
			i++
		default:
			return x, i
		}
	}
	return nil, 0
}

func (s *Socket) unqueue(i int) {
	s.rxq[i].queued = false
	s.rxq = slices.Delete(s.rxq, i, i+1)
}

// release frees the call's tag; s.mu is held.
func (s *Socket) release(x *tag) {
	if s.tags[x.id] == x {
		delete(s.tags, x.id)
	}
	x.gone = true
	x.tx.open()
}

// A gate is where goroutines wait for something to change. A mutex guards it.
type gate struct{ c chan struct{} }

func (g *gate) wait() <-chan struct{} {
	if g.c == nil {
		g.c = make(chan struct{})
	}
	return g.c
}

func (g *gate) open() {
	if g.c != nil {
		close(g.c)
		g.c = nil
	}
}
