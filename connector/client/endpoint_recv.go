package client

import (
	"context"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Recv returns the next event. The data of its message are valid until the next
// Recv.
func (e *Endpoint) Recv(ctx context.Context) (ev connector.Event, err error) {
	if e.pend.n.Load() == 0 && e.token.CompareAndSwap(false, true) {
		ok := e.nextMessage(&ev)
		e.release()
		if ok {
			return ev, nil
		}
	}
	if err := e.check(ctx); err != nil {
		return connector.Event{}, opErr("receive", err)
	}
	for {
		if e.pend.n.Load() > 0 {
			return e.take(), nil
		}
		if !e.token.CompareAndSwap(false, true) {
			if err := e.sleepRecv(ctx); err != nil {
				return connector.Event{}, opErr("receive", err)
			}
			continue
		}
		if e.pend.n.Load() > 0 { // put there by who read before
			e.release()
			continue
		}
		e.side.buf.giveBack()
		ev, err := e.readEvent(ctx)
		e.release()
		switch {
		case ev.Kind != 0:
			return ev, nil
		case err != nil && e.pend.n.Load() == 0:
			return connector.Event{}, opErr("receive", err)
		}
	}
}

// TryRecv implements connector.TryReceiver: it takes what was read with the last event, and reads nothing.
func (e *Endpoint) TryRecv() (ev connector.Event, ok bool) {
	if e.closed.Load() {
		return ev, false
	}
	if e.pend.n.Load() > 0 {
		return e.take(), true
	}
	if !e.token.CompareAndSwap(false, true) {
		return ev, false
	}
	if e.pend.n.Load() == 0 {
		e.side.buf.giveBack()
		ev = e.parsed()
	}
	e.release()
	return ev, ev.Kind != 0
}

// parsed takes the next event out of what was read; of no kind if there is none. The caller holds token.
func (e *Endpoint) parsed() (ev connector.Event) {
	s := &e.side
	for s.cur != nil && s.restore == 0 {
		h, body, ok, err := s.buf.next()
		if err == nil && !ok {
			break
		}
		var m connector.Message
		var stream bool
		if err == nil {
			stream, err = e.sort(&h, body, &m)
		}
		switch {
		case err != nil:
			e.broke(err)
		case stream:
			s.buf.lend()
			return event(&h, m)
		}
	}
	return ev
}

// readEvent takes the next event out of the read buffer, reading as often as it
// must. It returns none when there is one in pend. The caller holds token.
func (e *Endpoint) readEvent(ctx context.Context) (ev connector.Event, err error) {
	for e.pend.n.Load() == 0 {
		if err := e.advance(ctx, true); err != nil {
			return ev, err
		}
		if ev := e.parsed(); ev.Kind != 0 {
			return ev, nil
		}
	}
	return ev, nil
}

// sleepRecv waits while somebody else reads.
func (e *Endpoint) sleepRecv(ctx context.Context) error {
	gen := e.gen.Load()
	e.inRecv.Store(true)
	var err error
	if e.pend.n.Load() == 0 {
		err = e.step(ctx, &e.recvW, gen)
	}
	e.inRecv.Store(false)
	e.passOn()
	if err != nil && e.pend.n.Load() > 0 && !e.closed.Load() {
		return nil
	}
	return err
}

// take returns the first pending event.
func (e *Endpoint) take() connector.Event {
	h, body, ev, left := e.pend.pop()
	if e.held.Load() && left <= e.cfg.PendingBytes/2 {
		e.resume()
	}
	switch h.Type {
	case typeOwn:
		return ev
	case frame.Fail:
		m, _ := parseHeaders(body) // it was parsed before it was stored
		return failedEvent(&h, m)
	case frame.Msg:
		m, _ := connector.ParseExact(body)
		return messageEvent(&h, m)
	}
	return lostEvent(&h)
}

// nextMessage is the usual case of readEvent: a message that is already in the
// buffer and needs no more than to be read. The caller holds token.
func (e *Endpoint) nextMessage(ev *connector.Event) bool {
	s := &e.side
	q := &s.buf
	b := q.b[q.r:q.w]
	if len(b) < frame.HeaderLen+connector.HeaderLen || s.cur == nil || s.restore > 0 || e.closed.Load() || e.pend.n.Load() > 0 {
		return false
	}
	h := frame.ParseHeader(b)
	if h.Type != frame.Msg || h.Flags != 0 || int(h.Len) > len(b) || h.Len < frame.HeaderLen ||
		h.Pos == 0 && h.Group != 0 && s.positions || h.Group == 0 && e.calls.used.Load() {
		return false
	}
	var err error
	if ev.Msg, err = connector.ParseExact(b[frame.HeaderLen:h.Len]); err != nil {
		return false
	}
	if h.Pos != 0 && !e.seen(&h) {
		q.r += int(h.Len) // its own, from before it had to reconnect
		return false
	}
	ev.Pos = h.Pos
	ev.Kind = connector.EventMessage
	ev.From.Port, ev.From.Group = h.Port, h.Group
	ev.From.Cred = connector.Cred{UID: h.UID, GID: h.GID, PID: h.PID}
	q.giveBack()
	q.r += int(h.Len)
	q.lend()
	return true
}
