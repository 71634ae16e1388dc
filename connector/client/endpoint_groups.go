package client

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Join makes the endpoint a member of group.
func (e *Endpoint) Join(ctx context.Context, group uint32) error {
	return groupErr("join", group, e.join(ctx, group, nil))
}

// JoinAt joins group so that the next message is the one after at.
func (e *Endpoint) JoinAt(ctx context.Context, group uint32, at connector.Position) error {
	return groupErr("join", group, e.join(ctx, group, &at))
}

func (e *Endpoint) join(ctx context.Context, group uint32, at *connector.Position) error {
	h, body := frame.Header{Type: frame.Join, Group: group}, []byte(nil)
	if at != nil {
		h.Flags, h.Pos = frame.FlagAt, at.Pos
		body = frame.AppendU64s(nil, at.Epoch)
	}
	_, err := e.request(ctx, h, body, func(o *op) {
		if o.err != nil {
			return
		}
		if m := e.groups[group]; m != nil && at == nil && m.epoch == o.epoch {
			return // it was a member, and goes on where it is
		}
		m := &membership{group: group, pos: o.pos}
		e.setEpoch(m, o.epoch)
		if at != nil {
			m.pos = 0
			if at.Epoch == o.epoch {
				m.pos = at.Pos
			}
		}
		e.setMembership(group, m)
	})
	return err
}

// setMembership changes groups; nil removes. The caller holds token.
func (e *Endpoint) setMembership(group uint32, m *membership) {
	e.side.last = nil
	e.gmu.Lock()
	defer e.gmu.Unlock()
	if m == nil {
		delete(e.groups, group)
		return
	}
	e.groups[group] = m
}

// Leave ends the membership. What is queued stays.
func (e *Endpoint) Leave(ctx context.Context, group uint32) error {
	_, err := e.request(ctx, frame.Header{Type: frame.Leave, Group: group}, nil, func(o *op) {
		if o.err == nil || errors.Is(o.err, connector.ErrNotFound) {
			e.setMembership(group, nil)
		}
	})
	if errors.Is(err, connector.ErrNotFound) {
		return nil // it was none
	}
	return groupErr("leave", group, err)
}

// Epoch returns the epoch of the positions of a joined group, 0 without history.
func (e *Endpoint) Epoch(group uint32) uint64 {
	e.gmu.Lock()
	defer e.gmu.Unlock()
	if m := e.groups[group]; m != nil {
		return m.epoch
	}
	return 0
}

// Ping returns when the broker has handled everything sent before.
func (e *Endpoint) Ping(ctx context.Context) error {
	_, err := e.request(ctx, frame.Header{Type: frame.Ping}, nil, nil)
	return opErr("ping", err)
}
