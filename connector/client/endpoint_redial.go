package client

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

var errEOF = errors.New("the broker closed the connection")

// broke ends the connection that is read: those who wait for its answers are told, and
// the stream. The caller holds token.
func (e *Endpoint) broke(cause error) {
	s := &e.side
	l := s.cur
	if errors.Is(cause, io.EOF) {
		cause = errEOF
	}
	cause = interrupted(cause)
	up := e.link.Load() != nil
	e.link.Store(nil)
	e.hmu.Lock()
	e.reading.Store(nil)
	e.held.Store(false)
	e.hmu.Unlock()
	l.end(cause)
	s.cur, s.restore, s.unknown = nil, 0, nil
	s.buf.reset()
	s.arm.disarm()
	e.ops.breakAll(cause)
	e.calls.breakAll(cause)
	e.stops.clear()
	s.early.moveTo(&e.pend)
	l.w.unsent(func(h frame.Header, body []byte) {
		if h.Type != frame.Send || h.Flags&(frame.FlagAck|frame.FlagCall|frame.FlagReply) != 0 {
			return
		}
		m, _ := connector.ParseExact(body)
		m.Data = nil
		ev := failedEvent(&h, m)
		ev.Err = sendErr("post", m.ID, connector.Dest{Port: h.Port, Group: h.Group}, cause, false)
		e.pend.pushEvent(ev)
	})
	if up {
		e.pend.pushEvent(connector.Event{Kind: connector.EventDown, Err: cause})
	}
	if e.cfg.Reconnect.Disabled {
		s.final = cause
	}
	s.next = time.Now().Add(e.cfg.Reconnect.pause(s.tries))
	s.tries++
	e.wakeRecv()
	e.gen.Add(1)
	e.wakeAll()
}

// redial waits for the time of the next attempt and makes it. A failed attempt
// is no error. The caller holds token.
func (e *Endpoint) redial(ctx context.Context) error {
	s := &e.side
	if d := time.Until(s.next); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ctx.Done():
			return connector.ErrClosed
		}
	}
	dctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	l, err := dialLink(dctx, e.cfg)
	if err != nil {
		s.next = time.Now().Add(e.cfg.Reconnect.pause(s.tries))
		s.tries++
		e.cfg.Logger.Debug("no connection to the broker", "attempt", s.tries, "err", err)
		return e.check(ctx)
	}
	e.adopt(l)
	e.restore()
	return nil
}

// restore joins the groups again; Up follows the last answer.
func (e *Endpoint) restore() {
	s := &e.side
	s.last = nil
	s.restore = 1 // until all are asked for
	for _, m := range e.groups {
		o := e.newOp(opJoin)
		o.group, o.left = m.group, true
		o.onDone = func(o *op) { e.restored(m, o) }
		s.restore++
		e.ops.add(o)
		h, body := frame.Header{Type: frame.Join, Tag: o.tag, Group: m.group}, []byte(nil)
		if m.epoch != 0 {
			h.Flags, h.Pos = frame.FlagAt, m.pos
			body = frame.AppendU64s(nil, m.epoch)
		}
		_, _ = s.cur.w.control(h, body, paceCork)
	}
	s.cur.w.flush()
	e.restoredOne()
}

// restored is called with the answer to a Join of restore.
func (e *Endpoint) restored(m *membership, o *op) {
	s := &e.side
	switch {
	case o.broken:
		return
	case o.err != nil:
		e.setMembership(m.group, nil)
		s.early.pushEvent(connector.Event{
			Kind: connector.EventFailed, From: connector.From{Group: m.group}, Err: groupErr("join", m.group, o.err),
		})
	default:
		if m.epoch == 0 || o.epoch == 0 {
			s.unknown = append(s.unknown, m.group)
			m.pos = o.pos
		} else if m.epoch != o.epoch {
			m.pos = 0 // the broker has told the loss
		}
		e.setEpoch(m, o.epoch)
		m.asked = false
	}
	e.restoredOne()
}

func (e *Endpoint) restoredOne() {
	s := &e.side
	if s.restore--; s.restore > 0 {
		return
	}
	e.publish()
	e.pend.pushEvent(connector.Event{Kind: connector.EventUp})
	for _, g := range s.unknown {
		e.pend.pushEvent(connector.Event{Kind: connector.EventLost, Unknown: true, From: connector.From{Group: g}})
	}
	s.unknown = nil
	s.early.moveTo(&e.pend)
	e.wakeRecv()
	e.gen.Add(1)
	e.wakeAll()
}
