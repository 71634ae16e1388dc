package bussock

import (
	"context"
	"errors"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// Dial connects to who listens on id. It returns when that one's process has taken the connection, which
// may then wait to be accepted. The error is a *tsocket.OpError whose Err is
//
//	ECONNREFUSED              nobody listens on id, or its backlog is full
//	EACCES                    the listener, or the policy of the bus, does not allow it
//	ErrCanceled, ErrTimeout   ctx has ended
//	EMFILE                    too many streams, here or there
//	ECONNRESET                the listener went away meanwhile
//	EPROTO                    what is registered under id is no listener
//
// or another errno of an *Error.
func (n *Node) Dial(ctx context.Context, id cbid.ID) (*tsocket.Stream, error) {
	s, err := n.dial(ctx, id)
	if err != nil {
		return nil, &tsocket.OpError{Op: "connect to " + id.String(), Err: err}
	}
	return tsocket.NewStream(s), nil
}

// DialSend starts a Dial.
func (n *Node) DialSend(ctx context.Context, id cbid.ID) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(ctx, "connect to "+id.String(), func(ctx context.Context) (*tsocket.Stream, error) {
		return unlessOver(ctx)(n.Dial(ctx, id))
	})
}

func (n *Node) dial(ctx context.Context, id cbid.ID) (*stream, error) {
	s := newStream(n)
	if err := n.add(s); err != nil {
		return nil, err
	}
	a, from, err := n.ask(ctx, id, header{op: opConnect, sock: s.num, arg: Version})
	if err != nil {
		if mayBeDelivered(err) {
			n.takeBack(id, s.num)
		}
		n.forget(s)
		return nil, err
	}
	s.connected(a.port, a.number, from.Cred)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return nil, s.broken
	case n.ctx.Err() != nil:
		return nil, errClosed
	}
	s.isReady = true
	s.out.limit = uint64(a.window)
	s.in.due = true // the first window tells the listener that this end is ready
	s.out.posting = true
	s.post(true)
	if s.closed { // with the node
		return nil, errClosed
	}
	return s, nil
}

// ask calls who is registered under id.
func (n *Node) ask(ctx context.Context, id cbid.ID, h header) (answer, connector.From, error) {
	ev, err := n.ep.Call(ctx, connector.Message{ID: id, Data: h.append(nil)}, connector.Dest{})
	switch {
	case err != nil && ctx.Err() != nil:
		return answer{}, connector.From{}, endOf(ctx)
	case err != nil:
		return answer{}, connector.From{}, ofBus(err, "")
	}
	a, ok := parseAnswer(ev.Msg.Data, h.op)
	switch {
	case !ok:
		return answer{}, connector.From{}, &Error{Errno: syscall.EPROTO, Text: "what is registered under the id has no sockets"}
	case a.errno != 0:
		return answer{}, connector.From{}, &Error{Errno: a.errno, Text: a.text}
	case connector.HostOf(a.port) == 0 && connector.HostOf(ev.From.Port) != 0:
		// It is on another host, which calls it by its local port id.
		a.port = connector.SitePort(connector.HostOf(ev.From.Port), a.port)
	}
	return a, ev.From, nil
}

// unlessOver frees a stream that comes too late.
func unlessOver(ctx context.Context) func(*tsocket.Stream, error) (*tsocket.Stream, error) {
	return func(s *tsocket.Stream, err error) (*tsocket.Stream, error) {
		if err == nil && ctx.Err() != nil {
			_ = s.Close()
			return nil, ctx.Err()
		}
		return s, err
	}
}

// endOf is the error of what ended with its context.
func endOf(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return tsocket.ErrTimeout
	}
	return tsocket.ErrCanceled
}

// mayBeDelivered reports whether the listener may have a stream for a call that failed.
func mayBeDelivered(err error) bool {
	var op *connector.OpError
	return errors.As(err, &op) && op.MayBeDelivered || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// takeBack tells the listener that nobody waits for its answer any more.
func (n *Node) takeBack(id cbid.ID, num uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx.Err() != nil {
		return // the end of the endpoint says it too
	}
	up := n.up
	n.wg.Go(func() {
		m := connector.Message{ID: id, Data: header{op: opCancel, sock: num}.append(nil)}
		_ = n.ep.Post(up.ctx, m, connector.Dest{}) // who is not there has no stream
	})
}

// Lookup returns the address of the datagram socket that was published under id. The errors are those of Dial.
func (n *Node) Lookup(ctx context.Context, id cbid.ID) (tsocket.Addr, error) {
	a, _, err := n.ask(ctx, id, header{op: opLookup, arg: Version})
	if err == nil && a.number >= firstStream {
		err = &Error{Errno: syscall.EPROTO, Text: "no number of a datagram socket"}
	}
	if err != nil {
		return tsocket.Addr{}, &tsocket.OpError{Op: "lookup of " + id.String(), Err: err}
	}
	return Addr(a.port, uint16(a.number)), nil
}
