package main

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// wantNotify are the ranges of cn_test_want_notify in cn_test.c, moved to the id in use: ten
// idx from its idx, ten val from its val, and ten more twenty further on.
func wantNotify(id cbid.ID, group uint32) connector.Ctl {
	return connector.Ctl{
		Group: group,
		Idx:   []connector.NotifyReq{{First: id.Idx, Range: 10}},
		Val:   []connector.NotifyReq{{First: id.Val, Range: 10}, {First: id.Val + 20, Range: 10}},
	}
}

// askNotify sends a request to the control id and waits for its answer, which 2005 did
// not have.
func askNotify(ctx context.Context, ep connector.Endpoint, c connector.Ctl) error {
	data, err := c.Append(nil, binary.NativeEndian)
	if err != nil {
		return err
	}
	reply, err := ep.Call(ctx, connector.Message{ID: cbid.Control, Data: data}, connector.Dest{})
	if err != nil {
		return err
	}
	return connector.ParseCtlResult(reply.Msg.Data)
}

// Notifications carry ack 0 for a registration and 1 for a removal.
const (
	ackRegistered = 0
	ackRemoved    = 1
)

// notification says what an empty message in a notified group tells.
func notification(m *connector.Message) string {
	switch {
	case len(m.Data) > 0 || m.Seq != 0:
		return ""
	case m.Ack == ackRegistered:
		return "registered"
	case m.Ack == ackRemoved:
		return "removed"
	}
	return ""
}

// notifyGroup is a group for the notifications of one endpoint.
func notifyGroup(port uint32) uint32 { return 0x6e000000 | port&0xffffff }

// ctlOf turns a rectangle of ids into a request. A cn_notify_req cannot hold
// more than 2^32-1 numbers.
func ctlOf(r cbid.Rect, group uint32) (connector.Ctl, error) {
	req := func(r cbid.Range) connector.NotifyReq {
		return connector.NotifyReq{First: r.First, Range: uint32(min(r.Clamp().Count, 1<<32-1))}
	}
	if r.Empty() {
		return connector.Ctl{}, fmt.Errorf("range %v is empty", r)
	}
	return connector.Ctl{
		Group: group, Idx: []connector.NotifyReq{req(r.Idx)}, Val: []connector.NotifyReq{req(r.Val)},
	}, nil
}
