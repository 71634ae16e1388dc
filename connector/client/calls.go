package client

import (
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// calls are the requests of an endpoint that wait for a reply.
type calls struct {
	used atomic.Bool // so that messages to one who never calls are not looked up
	g    *connector.Genealogy
}

// byLookup stands for the port of an agent, which its caller does not know. Agents
// answer with flag Reply, and nothing lets an endpoint's Send have it: so a message without
// it is no answer to a call by id, even from one who was told its seq and ack.
const byLookup = 0xffffffff

// begin registers o as a call and gives m its seq and ack.
func (c *calls) begin(o *op, m *connector.Message, to connector.Dest) error {
	if !c.used.Load() {
		c.used.Store(true)
	}
	port := to.Port
	if port == 0 && to.Group == 0 {
		port = byLookup
	}
	call, err := c.g.Begin(m.ID, port, o)
	if err != nil {
		return err
	}
	o.call = call
	m.Seq, m.Ack = call.Seq, call.Ack
	return nil
}

// drop takes o out because its caller does not wait any more; false when it was
// done first.
func (c *calls) drop(o *op) bool { return c.g.Cancel(o.call) }

// reply gives a unicast message to the call that it answers. It reports false
// for a message that answers none, now or ever.
func (c *calls) reply(h *frame.Header, m *connector.Message) bool {
	from := connector.From{Port: h.Port}
	if h.Flags&frame.FlagReply != 0 {
		from.Port = byLookup
	}
	class, call := c.g.Match(m, &from)
	if class == connector.ClassForeign && from.Port == byLookup && call.Port != byLookup {
		from.Port = h.Port // a client that answers for its port with the flag
		class, call = c.g.Match(m, &from)
	}
	switch class {
	case connector.ClassNew:
		return false
	case connector.ClassReply:
		o := call.Tag.(*op)
		o.ev = messageEvent(h, m.Clone())
		o.finish()
	}
	return true
}

// fail ends the call whose headers came back in a Fail, and reports whether
// there was one.
func (c *calls) fail(h *frame.Header, m *connector.Message) bool {
	// The rule finds a request by what its reply would be.
	reply := connector.Message{ID: m.ID, Seq: m.Seq, Ack: m.Ack + 1}
	from := connector.From{Port: h.Port}
	if h.Port == 0 && h.Group == 0 {
		from.Port = byLookup
	}
	class, call := c.g.Match(&reply, &from)
	if class != connector.ClassReply {
		return class != connector.ClassNew
	}
	o := call.Tag.(*op)
	o.err = refusal(h.Code, nil)
	o.finish()
	return true
}

// gone ends the calls that an agent has left unanswered: those to id, or without
// one those to the port itself. handled is how many frames of this connection the
// broker had handled when it happened: calls after those went to somebody else.
func (c *calls) gone(port uint32, id *cbid.ID, handled uint64) {
	for _, call := range c.g.FailAll(func(p connector.Call) bool {
		if nth := p.Tag.(*op).nth.Load(); nth == 0 || handled != 0 && nth > handled {
			return false
		}
		if id == nil {
			return p.Port == port
		}
		return p.Port == byLookup && p.ID == *id
	}) {
		o := call.Tag.(*op)
		o.err = connector.ErrAgentGone
		o.finish()
	}
}

// breakAll ends every call: the connection broke.
func (c *calls) breakAll(cause error) {
	for _, call := range c.g.FailAll(nil) {
		o := call.Tag.(*op)
		o.err, o.broken = cause, true
		o.finish()
	}
}

// messageEvent is the event of a Msg frame.
func messageEvent(h *frame.Header, m connector.Message) connector.Event {
	return connector.Event{Kind: connector.EventMessage, Msg: m, From: fromOf(h), Pos: h.Pos}
}

func fromOf(h *frame.Header) connector.From {
	return connector.From{
		Port: h.Port, Group: h.Group,
		Cred: connector.Cred{UID: h.UID, GID: h.GID, PID: h.PID},
	}
}

// failedEvent is the event of a Fail; m are the headers in its body.
func failedEvent(h *frame.Header, m connector.Message) connector.Event {
	to := connector.Dest{Port: h.Port, Group: h.Group}
	return connector.Event{
		Kind: connector.EventFailed, Msg: m, From: connector.From{Port: h.Port, Group: h.Group},
		Err: sendErr("post", m.ID, to, refusal(h.Code, nil), false),
	}
}
