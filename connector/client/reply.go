package client

import (
	"context"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// via sends replies through the connection that the request came by: on another
// one the caller's port id may be somebody else's.
type via struct {
	g   *reg
	l   *link // nil: that connection is gone
	seq uint32
}

var staleVia = &via{}

// Reply implements connector.Replier.
func (v *via) Reply(ctx context.Context, d *connector.Delivery, data []byte) error {
	m := connector.Message{ID: d.Msg.ID, Seq: d.Msg.Seq, Ack: d.Msg.Ack + 1, Data: data}
	to := connector.Dest{Port: d.From.Port}
	switch {
	case v.l == nil:
		return sendErr("reply", m.ID, to, connector.ErrInterrupted, false)
	case to.Port == 0:
		return sendErr("reply", m.ID, to, connector.ErrNoPort, false)
	case len(data) > connector.MaxData:
		return sendErr("reply", m.ID, to, connector.ErrTooBig, false)
	}
	if err := v.g.a.check(ctx); err != nil {
		return sendErr("reply", m.ID, to, err, false)
	}
	for {
		h := frame.Header{Type: frame.Send, Flags: frame.FlagReply, Port: to.Port}
		_, ok, err := v.l.w.send(&h, &m, v.l.port, pace(v.g.pace.Load()), nil)
		if ok {
			return nil
		}
		if err != nil {
			err = interrupted(err)
		} else {
			err = v.g.a.awaitRoom(ctx, v.l, m.Size())
		}
		if err != nil {
			return sendErr("reply", m.ID, to, err, false)
		}
	}
}
