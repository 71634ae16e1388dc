package client

import (
	"context"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// sender is what an endpoint and the agent side have in common: how messages and
// requests go out, and wait for what they need. How one waits differs: an endpoint reads
// meanwhile, the agent side has a goroutine that does.
type sender struct {
	link     atomic.Pointer[link] // that senders use; nil while the connection is down
	stops    stops
	ops      opTable
	calls    calls
	pool     *opPool
	forAgent bool // a message to nobody in particular goes to the group of its id

	// gen changes when those who wait for room, for Go or for the connection
	// should look again.
	gen   atomic.Uint64
	waits stepper
}

// stepper waits for news.
type stepper interface {
	// check is what every operation asks before it waits.
	check(ctx context.Context) error
	// step waits until there may be news for w, whose owner has looked when gen
	// was as given. The owner calls it in a loop, and passOn after the last time.
	step(ctx context.Context, w *waiter, gen uint64) error
	passOn()
}

func (s *sender) newOp(kind opKind) *op { return s.pool.newOp(kind) }

// opName is for errors.
func (o *op) opName() string {
	switch {
	case o == nil:
		return "post"
	case o.kind == opCall:
		return "call"
	}
	return "send"
}

// transmit puts m into the connection's buffer, when there is a connection, the
// receiver is not known to be full and the buffer has room. o, if any, is then in
// its table; on an error it is not.
func (s *sender) transmit(ctx context.Context, o *op, m *connector.Message, to connector.Dest, flags uint8, p pace) (*link, uint64, error) {
	if err := s.waits.check(ctx); err != nil {
		return nil, 0, sendErr(o.opName(), m.ID, to, err, false)
	}
	if to.Port != 0 && to.Group != 0 {
		return nil, 0, sendErr(o.opName(), m.ID, to, errBoth, false)
	}
	if len(m.Data) > connector.MaxData {
		return nil, 0, sendErr(o.opName(), m.ID, to, connector.ErrTooBig, false)
	}
	l := s.link.Load()
	if l == nil || s.stops.stopped(m.ID, to, s.forAgent) {
		l = nil
	}
	h := sendHeader(to, flags)
	for {
		if l == nil {
			var err error
			if l, err = s.clear(ctx, m, to); err != nil {
				return nil, 0, sendErr(o.opName(), m.ID, to, err, false)
			}
		}
		var nth *atomic.Uint64
		if o != nil {
			nth = &o.nth
			if err := s.begin(o, m, to, &h); err != nil {
				return nil, 0, sendErr(o.opName(), m.ID, to, err, false)
			}
		}
		end, ok, err := l.w.send(&h, m, l.port, p, nth)
		if ok {
			return l, end, nil
		}
		if o != nil {
			s.unbegin(o)
		}
		if err == nil { // no room
			err = s.awaitRoom(ctx, l, m.Size())
		} else { // broken: whoever reads finds out why
			err = s.awaitEnd(ctx, l)
		}
		if err != nil {
			return nil, 0, sendErr(o.opName(), m.ID, to, err, false)
		}
		l = nil
	}
}

func (s *sender) begin(o *op, m *connector.Message, to connector.Dest, h *frame.Header) error {
	if o.kind == opCall {
		return s.calls.begin(o, m, to)
	}
	s.ops.add(o)
	h.Tag = o.tag
	return nil
}

// unbegin takes back begin.
func (s *sender) unbegin(o *op) {
	var t dropper = &s.ops
	if o.kind == opCall {
		t = &s.calls
	}
	if !t.drop(o) {
		o.waitDone() // the connection broke
		o.renew()
	}
}

// uncork writes what is held together.
func (s *sender) uncork() {
	if l := s.link.Load(); l != nil {
		l.w.flush()
	}
}

// clear waits until there is a connection and the receiver is not stopped.
func (s *sender) clear(ctx context.Context, m *connector.Message, to connector.Dest) (*link, error) {
	s.uncork() // or what it waits for may not come
	w := s.newOp(opSend)
	defer w.free()
	defer s.waits.passOn()
	for {
		gen := s.gen.Load()
		l := s.link.Load()
		if l != nil && !s.stops.stopped(m.ID, to, s.forAgent) {
			return l, nil
		}
		if err := s.waits.step(ctx, &w.waiter, gen); err != nil {
			return nil, err
		}
	}
}

// awaitRoom waits until l's buffer takes another frame, or l is gone. It reads
// meanwhile: the broker may have to write before it reads.
func (s *sender) awaitRoom(ctx context.Context, l *link, n int) error {
	w := s.newOp(opSend)
	defer w.free()
	defer s.waits.passOn()
	l.w.await(1)
	defer l.w.await(-1)
	l.w.flush()
	for {
		gen := s.gen.Load()
		ok, broken := l.w.room(frame.HeaderLen + n)
		if ok || broken != nil {
			return nil
		}
		if err := s.waits.step(ctx, &w.waiter, gen); err != nil {
			return err
		}
	}
}

// awaitEnd waits until whoever reads l has come to its end.
func (s *sender) awaitEnd(ctx context.Context, l *link) error {
	w := s.newOp(opSend)
	defer w.free()
	defer s.waits.passOn()
	for {
		gen := s.gen.Load()
		if s.link.Load() != l {
			return nil
		}
		if err := s.waits.step(ctx, &w.waiter, gen); err != nil {
			return err
		}
	}
}

// request sends a frame that the broker acknowledges, on the next connection
// again if this one breaks before the answer: the requests made with it change nothing when
// made twice. onDone sees the answer in the reader; after pending it will, when it comes.
func (s *sender) request(ctx context.Context, h frame.Header, body []byte, onDone func(*op)) (pending bool, err error) {
	for {
		l, err := s.clear(ctx, &connector.Message{}, connector.Dest{Full: connector.FullDrop})
		if err != nil {
			return false, err
		}
		o := s.newOp(opKinds[h.Type])
		if onDone != nil {
			o.onDone = func(o *op) {
				if !o.broken {
					onDone(o)
				}
			}
		}
		s.ops.add(o)
		h.Tag = o.tag
		if _, err := l.w.control(h, body, paceNow); err != nil {
			s.unbegin(o)
			o.free()
			if err := s.awaitEnd(ctx, l); err != nil {
				return false, err
			}
			continue
		}
		if err := s.await(ctx, o, leaver{&s.ops}); err != nil {
			return true, err // o stays for its answer
		}
		err, broken := o.err, o.broken
		o.free()
		if !broken {
			return false, err
		}
	}
}

var opKinds = map[frame.Type]opKind{
	frame.Join: opJoin, frame.Leave: opLeave, frame.Add: opAdd, frame.Del: opDel,
	frame.History: opHistory, frame.Ping: opPing, frame.Follow: opFollow,
}

// await steps until o is done. A caller that gives up takes o out of its table
// by drop; o is done in any case when await returns nil.
func (s *sender) await(ctx context.Context, o *op, t dropper) error {
	for !o.done.Load() {
		err := s.waits.step(ctx, &o.waiter, s.gen.Load())
		if err == nil || o.done.Load() {
			continue
		}
		if t.drop(o) {
			s.waits.passOn()
			return err
		}
		o.waitDone()
	}
	s.waits.passOn()
	return nil
}

// sendHeader returns the frame header of a message.
func sendHeader(to connector.Dest, flags uint8) frame.Header {
	switch to.Full {
	case connector.FullWait:
		flags |= frame.FlagWait
	case connector.FullDrop:
		flags |= frame.FlagDrop
	}
	return frame.Header{Type: frame.Send, Flags: flags, Port: to.Port, Group: to.Group}
}
