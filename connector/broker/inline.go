package broker

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// inline is the callback of an id that this process has registered by Broker.Bus and marked by connector.Inline: the hub
// runs it as soon as a message for it comes, and puts the reply straight into the caller's queue.
type inline struct {
	h        *hub
	owner    *conn
	id       cbid.ID
	handler  connector.Handler
	interest connector.InterestHandler // handler, if it is one
	ctx      context.Context           // the handler's
	log      *slog.Logger

	// The loop's.
	mute    bool // its AddCallback has given up
	running bool
	told    int8
	d       connector.Delivery
	buf     []byte                // of the reply
	queue   []*connector.Delivery // what it has sent to itself
}

func newInline(h *hub, owner *conn, id cbid.ID, handler connector.Handler) *inline {
	in := &inline{h: h, owner: owner, id: id, handler: handler}
	in.interest, _ = handler.(connector.InterestHandler)
	return in
}

// runInline handles the Send fr of c.
func (h *hub) runInline(c *conn, r *reg, hd *frame.Header, fr []byte) {
	in := r.inline
	r.count++
	h.stats.Delivered++
	r.owner.stat.Delivered++
	if hd.Flags&frame.FlagCall != 0 {
		r.callers.add(c.port, h)
	}
	if len(h.monitors) > 0 {
		h.tap(c, hd, fr, nil) // before what the callback sends
	}
	body := fr[frame.HeaderLen:]
	msg := connector.Message{
		ID: r.id, Seq: native.Uint32(body[24:]), Ack: native.Uint32(body[28:]), Flags: native.Uint16(body[34:]),
		Data: body[connector.HeaderLen:],
	}
	from := connector.From{Port: c.port, Cred: c.cred}
	call := hd.Flags&frame.FlagCall != 0
	if in.running {
		d := connector.Delivery{Msg: msg, From: from, Call: call, Via: in}
		in.queue = append(in.queue, d.Detach())
	} else if !in.mute {
		in.d.Msg, in.d.From, in.d.Call, in.d.More, in.d.Via = msg, from, call, h.more, in
		in.call()
		for len(in.queue) > 0 {
			in.d = *in.queue[0]
			in.queue = in.queue[1:]
			in.call()
		}
		in.d.Msg.Data, in.queue = nil, nil
	}
	h.tapped = true
	if hd.Flags&frame.FlagAck != 0 {
		h.answer(c, hd.Tag, nil, "")
	}
}

// call runs the handler with in.d.
func (in *inline) call() {
	in.running = true
	defer in.done()
	in.handler.Handle(in.ctx, &in.d)
}

// done contains a panic.
func (in *inline) done() {
	in.running = false
	if v := recover(); v != nil {
		in.log.Error("callback did not return", "id", in.id.String(), "value", v, "stack", string(debug.Stack()))
	}
}

// interestInline tells c's callbacks on the loop whether anybody listens.
func (h *hub) interestInline(c *conn, num uint32) {
	told := int8(-1)
	if h.heard(num) {
		told = 1
	}
	for _, r := range h.byIdx[num] {
		if in := r.inline; in != nil && r.owner == c && in.interest != nil && in.told != told {
			in.told = told
			in.tell(num, told > 0)
		}
	}
}

func (in *inline) tell(num uint32, listening bool) {
	defer in.done()
	in.interest.Interest(in.ctx, num, listening)
}

// Reply implements connector.Replier. What the handler replies before it returns goes at once; later replies are posted
// to the loop.
func (in *inline) Reply(ctx context.Context, d *connector.Delivery, data []byte) error {
	m := connector.Message{ID: d.Msg.ID, Seq: d.Msg.Seq, Ack: d.Msg.Ack + 1, Data: data}
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		return &connector.OpError{Op: "reply", ID: m.ID, HasID: true, Port: d.From.Port, Err: err}
	}
	switch {
	case d.From.Port == 0:
		return fail(connector.ErrNoPort)
	case len(data) > connector.MaxData:
		return fail(connector.ErrTooBig)
	}
	now := d == &in.d // anybody else has a copy, by Detach
	var buf []byte
	if now {
		buf = in.buf[:0]
	}
	hd := frame.Header{Type: frame.Send, Flags: frame.FlagReply, Port: d.From.Port, Len: uint32(frame.HeaderLen + connector.HeaderLen + len(data))}
	buf = append(buf, zeroHeader[:]...)
	hd.Put(buf)
	buf, _ = m.AppendNative(buf, in.owner.port) // its length was looked at
	if !now {
		if in.owner.local.inside() { // the loop must not wait for itself
			return fail(in.answer(&hd, buf))
		}
		if err := in.owner.local.reply(ctx, buf); err != nil {
			return fail(err)
		}
		return nil
	}
	in.buf = buf
	return fail(in.answer(&hd, buf))
}

// answer sends a reply, which never waits, on the loop.
func (in *inline) answer(hd *frame.Header, fr []byte) error {
	if in.owner.closed {
		return connector.ErrClosed
	}
	in.owner.stat.FramesIn++
	in.h.send(in.owner, hd, fr)
	return nil
}

var zeroHeader [frame.HeaderLen]byte
