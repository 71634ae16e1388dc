package client

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Send delivers m and returns when each receiver has it.
func (e *Endpoint) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	o := e.newOp(opSend)
	l, end, err := e.transmit(ctx, o, &m, to, frame.FlagAck, paceNow)
	if err == nil {
		if err = e.await(ctx, o, &e.ops); err != nil {
			err = sendErr("send", m.ID, to, err, true)
		} else if o.err != nil {
			err = sendErr("send", m.ID, to, o.err, o.broken && l.w.wasWritten(end))
		}
	}
	o.free()
	return err
}

// Post sends m and returns when it is on its way to the broker. A later failure
// is told by an EventFailed.
func (e *Endpoint) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	_, _, err := e.transmit(ctx, nil, &m, to, 0, paceBatch)
	if err == nil && e.unread.Add(int64(m.Size())) > readAhead {
		e.glance()
	}
	return err
}

// PostMore implements connector.Corker.
func (e *Endpoint) PostMore(ctx context.Context, m connector.Message, to connector.Dest) error {
	_, _, err := e.transmit(ctx, nil, &m, to, 0, paceCork)
	if err == nil && e.unread.Add(int64(m.Size())) > readAhead {
		e.glance()
	}
	return err
}

// Flush implements connector.Corker.
func (e *Endpoint) Flush() { e.uncork() }

// Call sends m as a request and waits for its reply.
func (e *Endpoint) Call(ctx context.Context, m connector.Message, to connector.Dest) (connector.Event, error) {
	var ev connector.Event
	o := e.newOp(opCall)
	l, end, err := e.transmit(ctx, o, &m, to, frame.FlagCall, paceNow)
	if err == nil {
		if err = e.await(ctx, o, &e.calls); err != nil {
			err = sendErr("call", m.ID, to, err, true)
		} else if o.err != nil {
			delivered := errors.Is(o.err, connector.ErrAgentGone) || o.broken && l.w.wasWritten(end)
			err = sendErr("call", m.ID, to, o.err, delivered)
		}
		ev = o.ev
	}
	o.free()
	return ev, err
}

// glance handles what has come meanwhile, without waiting, so that one who only
// posts sees Stop.
func (e *Endpoint) glance() {
	if !e.token.CompareAndSwap(false, true) {
		return // somebody reads
	}
	e.unread.Store(0)
	s := &e.side
	if l := s.cur; l != nil && l.w.try {
		if n, err := l.s.TryRead(s.buf.room()); err == nil {
			s.buf.filled(n)
			_ = e.drain()
		}
	}
	e.release()
}
