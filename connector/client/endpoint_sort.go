package client

import (
	"encoding/binary"
	"slices"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// sort does what a frame asks for, and reports whether it belongs into the
// stream; then m is its message. An error ends the connection. The caller holds token.
func (e *Endpoint) sort(h *frame.Header, body []byte, m *connector.Message) (stream bool, err error) {
	switch h.Type {
	case frame.Msg:
		if *m, err = connector.ParseExact(body); err != nil {
			return false, violation("%w", err)
		}
		if h.Flags&frame.FlagToID != 0 {
			return false, unexpected(h)
		}
		if h.Group == 0 {
			if e.calls.used.Load() && e.calls.reply(h, m) {
				return false, nil
			}
		}
		switch {
		case h.Pos != 0:
			return e.seen(h), nil
		case h.Group != 0 && e.side.positions:
			e.noHistory(h.Group)
		}
		return true, nil
	case frame.Lost:
		if len(body) != 0 {
			return false, violation("Lost with a body")
		}
		e.lost(h)
		return true, nil
	case frame.Fail:
		if *m, err = parseHeaders(body); err != nil {
			return false, err
		}
		found := e.calls.used.Load() && e.calls.fail(h, m)
		return !found && h.Flags&frame.FlagCall == 0, nil
	case frame.Ack:
		if h.Tag == askTag {
			e.side.cur.w.answered()
			return false, nil
		}
		return false, e.ops.ack(h, body)
	case frame.Stop, frame.Go:
		changed, err := e.stops.set(h, body)
		if changed {
			e.gen.Add(1)
			e.wakeAll()
		}
		return false, err
	case frame.Gone:
		return false, e.agentGone(h, body)
	case frame.Bye:
		return false, byeError(h, body)
	}
	return false, unexpected(h)
}

// store handles a frame for whoever is not in Recv.
func (e *Endpoint) store(h *frame.Header, body []byte) error {
	var m connector.Message
	stream, err := e.sort(h, body, &m)
	if err != nil || !stream {
		return err
	}
	if e.side.restore > 0 {
		e.side.early.push(h, body)
		return nil
	}
	if h.Type == frame.Msg && h.Flags&frame.FlagReply != 0 && e.pend.size() > 4*e.cfg.PendingBytes {
		// A reply to no call, which no Hold keeps back: who does not receive
		// what it asked for loses it.
		e.pend.drop()
		e.wakeRecv()
		return nil
	}
	if e.pend.push(h, body) > e.cfg.PendingBytes && !e.held.Load() {
		e.hold()
	}
	e.wakeRecv()
	return nil
}

// wakeRecv tells who sleeps in Recv that there is something.
func (e *Endpoint) wakeRecv() {
	if e.inRecv.Load() {
		e.recvW.wake()
	}
}

// hold asks the broker to keep back what is for Recv, which has too much waiting.
func (e *Endpoint) hold() {
	e.hmu.Lock()
	l := e.reading.Load()
	e.held.Store(true)
	// Recv may have taken much of it, and seen that nothing is held.
	if l == nil || e.pend.size() <= e.cfg.PendingBytes {
		e.held.Store(false)
		e.hmu.Unlock()
		return
	}
	_, _ = l.w.control(frame.Header{Type: frame.Hold}, nil, paceCork)
	e.hmu.Unlock()
	l.w.flush()
}

// resume is called when half of what waited for Recv is gone.
func (e *Endpoint) resume() {
	e.hmu.Lock()
	l := e.reading.Load()
	if !e.held.Swap(false) || l == nil {
		e.hmu.Unlock()
		return
	}
	_, _ = l.w.control(frame.Header{Type: frame.Resume}, nil, paceCork)
	e.hmu.Unlock()
	l.w.flush()
}

// event is what Recv returns for a frame of the stream.
func event(h *frame.Header, m connector.Message) connector.Event {
	switch h.Type {
	case frame.Msg:
		return messageEvent(h, m)
	case frame.Fail:
		return failedEvent(h, m)
	}
	return lostEvent(h)
}

func lostEvent(h *frame.Header) connector.Event {
	return connector.Event{
		Kind: connector.EventLost, Lost: h.Pos, Unknown: h.Flags&frame.FlagUnknown != 0,
		From: connector.From{Group: h.Group},
	}
}

// seen notes the position of a message. It reports false for a message that this
// endpoint sent itself before it had to reconnect.
func (e *Endpoint) seen(h *frame.Header) bool {
	s := &e.side
	m := s.last
	if m == nil || m.group != h.Group {
		if m = e.groups[h.Group]; m == nil { // left meanwhile
			return true
		}
		s.last = m
	}
	m.pos = h.Pos
	if m.epoch == 0 && !m.asked && s.restore == 0 {
		m.asked = true
		e.askEpoch(m)
	}
	return len(s.ports) < 2 && s.restore == 0 || !slices.Contains(s.ports, h.Port)
}

// noHistory notes that a group no longer keeps a history.
func (e *Endpoint) noHistory(group uint32) {
	m := e.groups[group]
	if m == nil || m.epoch == 0 && m.pos == 0 {
		return
	}
	m.pos, m.asked = 0, false
	e.setEpoch(m, 0)
}

func (e *Endpoint) setEpoch(m *membership, epoch uint64) {
	if epoch != 0 {
		e.side.positions = true
	}
	e.gmu.Lock()
	m.epoch = epoch
	e.gmu.Unlock()
}

// lost notes that a history no longer had the next messages.
func (e *Endpoint) lost(h *frame.Header) {
	if m := e.groups[h.Group]; m != nil && m.epoch != 0 && h.Flags&frame.FlagUnknown == 0 {
		m.pos += h.Pos
	}
}

// askEpoch joins once more a group that began to keep a history after it was
// joined: the answer has the epoch, without which its positions cannot be resumed from.
func (e *Endpoint) askEpoch(m *membership) {
	o := e.newOp(opJoin)
	o.group, o.left = m.group, true
	o.onDone = func(o *op) {
		if o.err == nil {
			e.setEpoch(m, o.epoch)
		}
	}
	e.ops.add(o)
	_, _ = e.side.cur.w.control(frame.Header{Type: frame.Join, Tag: o.tag, Group: m.group}, nil, paceNow)
}

// agentGone ends the calls that nobody will answer.
func (e *Endpoint) agentGone(h *frame.Header, body []byte) error {
	if len(body) == 0 {
		e.calls.gone(h.Port, nil, h.Pos)
		return nil
	}
	id, rest, err := frame.ParseID(body)
	if err != nil || len(rest) > 0 {
		return violation("malformed Gone")
	}
	e.calls.gone(h.Port, &id, h.Pos)
	return nil
}

// parseHeaders reads the 36 bytes of a Fail: a message without its data.
func parseHeaders(b []byte) (m connector.Message, err error) {
	if len(b) != connector.HeaderLen {
		return m, violation("Fail with %d bytes", len(b))
	}
	n := binary.NativeEndian
	return connector.Message{
		ID:    cbid.Make(n.Uint32(b[16:]), n.Uint32(b[20:])),
		Seq:   n.Uint32(b[24:]),
		Ack:   n.Uint32(b[28:]),
		Flags: n.Uint16(b[34:]),
	}, nil
}
