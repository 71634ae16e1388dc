package client

import (
	"context"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Monitor sees a copy of everything that passes through the broker, on a
// connection of its own.
type Monitor struct {
	bus *Bus
	s   *stream
	err error // final
}

// MonEvent is one message that passed, or word of a loss.
type MonEvent struct {
	Time     time.Time         // when the broker routed it
	From     connector.From    // the sender; Group as in the message's Dest
	DestPort uint32            // as in the message's Dest
	Flags    MonFlags          // how it was sent
	Err      error             // why the broker refused it; nil if it did not
	Raw      []byte            // its netlink bytes; valid until the next Next
	Msg      connector.Message // the same; Data is a part of Raw
	Lost     uint64            // so many would have been here; nothing else is set then but Unknown
	Unknown  bool              // Lost is not known
}

// MonFlags say how a message was sent.
type MonFlags uint8

// The flags of a Send, as in docs/protocol.md.
const (
	MonAck   MonFlags = frame.FlagAck   // its sender waits for the confirmation
	MonCall  MonFlags = frame.FlagCall  // its sender waits for a reply
	MonReply MonFlags = frame.FlagReply // it is a reply
	MonWait  MonFlags = frame.FlagWait  // connector.FullWait
	MonDrop  MonFlags = frame.FlagDrop  // connector.FullDrop
	MonAgent MonFlags = frame.FlagAgent // to the group of its registered id
)

// Monitor starts to watch everything that passes. It ends with its connection.
func (b *Bus) Monitor(ctx context.Context) (*Monitor, error) {
	if err := b.open(); err != nil {
		return nil, opErr("monitor", err)
	}
	m := &Monitor{bus: b, s: newStream(b.cfg)}
	err := m.s.dial(ctx, frame.Header{Type: frame.Monitor}, nil)
	if err == nil {
		err = m.answer(ctx)
	}
	if err != nil {
		m.s.close()
		return nil, opErr("monitor", err)
	}
	if err := b.remember(m); err != nil {
		return nil, opErr("monitor", err)
	}
	return m, nil
}

func (m *Monitor) answer(ctx context.Context) error {
	h, body, err := m.s.next(ctx)
	switch {
	case err != nil:
		return err
	case h.Type != frame.Ack || h.Tag != 1:
		return m.s.broke(unexpected(&h))
	}
	return refusal(h.Code, body)
}

// Next returns the next message that passed. When the connection breaks the
// error wraps ErrInterrupted, and so does every later one.
func (m *Monitor) Next(ctx context.Context) (MonEvent, error) {
	m.s.mu.Lock()
	defer m.s.mu.Unlock()
	if err := m.s.check(ctx); err != nil {
		return MonEvent{}, opErr("monitor", err)
	}
	if m.err != nil {
		return MonEvent{}, opErr("monitor", m.err)
	}
	h, body, err := m.s.next(ctx)
	var ev MonEvent
	if err == nil {
		if ev, err = parseMon(&h, body); err != nil {
			err = m.s.broke(err)
		}
	}
	if err != nil {
		if m.s.l == nil {
			m.err = err
		}
		return MonEvent{}, opErr("monitor", err)
	}
	return ev, nil
}

func parseMon(h *frame.Header, body []byte) (MonEvent, error) {
	switch h.Type {
	case frame.Lost:
		return MonEvent{Lost: h.Pos, Unknown: h.Flags&frame.FlagUnknown != 0}, nil
	case frame.Mon:
	default:
		return MonEvent{}, unexpected(h)
	}
	m, err := connector.ParseExact(body)
	if err != nil {
		return MonEvent{}, violation("%w", err)
	}
	return MonEvent{
		Time: time.Unix(0, int64(h.Pos)), From: fromOf(h), DestPort: h.Tag, Flags: MonFlags(h.Flags),
		Err: connector.ErrorFromCode(h.Code), Raw: body, Msg: m,
	}, nil
}

// Close ends it; a blocked Next returns ErrClosed.
func (m *Monitor) Close() error {
	m.s.close()
	m.bus.forget(m)
	return nil
}
