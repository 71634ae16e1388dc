package broker

import (
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// initControl makes the tables behind the control id.
func (h *hub) initControl() {
	h.notify = connector.NewNotify(&connector.NotifyConfig{Requests: 1024, Ranges: 1 << 14}) // the uid's limit comes first
	h.watch = connector.NewWatchTable(0)
}

// controlMessage is a message to the control id {-1, -1}: a request to be notified, in the
// format of 2005.
func (h *hub) controlMessage(c *conn, hd *frame.Header, fr []byte) {
	data := fr[frame.HeaderLen+connector.HeaderLen:]
	err := h.notifyRequest(c, data)
	if hd.Flags&frame.FlagCall == 0 {
		if err != nil {
			h.refuse(c, hd, fr, err)
		} else if hd.Flags&frame.FlagAck != 0 {
			h.answer(c, hd.Tag, nil, "")
		}
		return
	}
	if hd.Flags&frame.FlagAck != 0 {
		h.answer(c, hd.Tag, nil, "")
	}
	body := fr[frame.HeaderLen:]
	reply := connector.Message{
		ID: cbid.Control, Seq: native.Uint32(body[24:]), Ack: native.Uint32(body[28:]) + 1,
		Data: native.AppendUint32(nil, errno(err)),
	}
	out, _ := reply.AppendNative(make([]byte, frame.HeaderLen), 0) // 4 bytes always fit
	stamp(out, 0, h.self, frame.FlagReply, 0, 0)
	h.put(c, out)
}

func (h *hub) notifyRequest(c *conn, data []byte) *connector.Error {
	req, err := connector.ParseCtl(data, native)
	if err != nil {
		return connector.ErrInvalid
	}
	owner := uint64(c.port)
	if req.Group == 0 {
		had := h.notify.Owned(owner)
		err := h.notify.Request(owner, req)
		c.acct.watches -= had - h.notify.Owned(owner)
		return refusal(err)
	}
	if !c.rights.mayPublish(req.Group) {
		return connector.ErrPermission
	}
	if why := c.acct.take(&c.acct.watches, c.acct.limits.Watches, "watches"); why != "" {
		h.limit(c, why)
		return connector.ErrLimit
	}
	if err := h.notify.Request(owner, req); err != nil {
		c.acct.watches--
		return refusal(err)
	}
	return nil
}

// refusal is the model's error that err wraps.
func refusal(err error) *connector.Error {
	if err == nil {
		return nil
	}
	var e *connector.Error
	if errors.As(err, &e) {
		return e
	}
	return connector.ErrInvalid
}

// errno is the number in the reply to a control message.
func errno(err *connector.Error) uint32 {
	switch err {
	case nil:
		return 0
	case connector.ErrNotFound:
		return 2 // ENOENT
	case connector.ErrPermission:
		return 1 // EPERM
	case connector.ErrLimit:
		return 122 // EDQUOT
	}
	return 22 // EINVAL
}

// fire multicasts the notifications of a change: a message with the id that
// changed, from the broker.
func (h *hub) fire(id cbid.ID, removed bool) {
	m := connector.NotifyMessage(id, removed)
	for num := range h.notify.Fire(id) {
		if h.isDurable(num) {
			h.fireDurable(num, m)
			continue
		}
		if g := h.groups[num]; g != nil {
			fr, _ := m.AppendNative(make([]byte, frame.HeaderLen), 0) // it has no data
			h.multicast(nil, 0, h.self, g, fr, false, false, 0, nil)
		}
		if h.site != nil {
			h.site.fire(num, m)
		}
	}
}
