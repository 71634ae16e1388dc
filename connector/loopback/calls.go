package loopback

import (
	"context"
	"errors"
	"sync"

	"github.com/cnbus/cnbus/connector"
)

// pending is a call that waits for its reply. It does not change.
type pending struct {
	callback *callback // to which it went; nil when not to an id
	port     uint32    // of the endpoint to which it went; 0 when not to a port
	result   chan result
}

type result struct {
	ev  connector.Event
	err error
}

// results keeps empty result channels. Each endpoint has its own: channels made in one
// bubble of testing/synctest must not be used in another.
type results struct{ pool sync.Pool }

func (r *results) get() chan result {
	if c, ok := r.pool.Get().(chan result); ok {
		return c
	}
	return make(chan result, 1)
}

// Call implements connector.Endpoint.
func (e *Endpoint) Call(ctx context.Context, m connector.Message, to connector.Dest) (connector.Event, error) {
	fail := func(err error, sent bool) (connector.Event, error) {
		return connector.Event{}, &connector.OpError{
			Op: "call", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: err, MayBeDelivered: sent,
		}
	}
	if err := check(ctx, &m, to, e.closed.Load()); err != nil {
		return fail(err, false)
	}
	p := &pending{port: to.Port, result: e.results.get()}
	defer func() { e.results.pool.Put(p.result) }() // empty again, see abandon
	port := to.Port
	if to.Port == 0 && to.Group == 0 {
		if p.callback = e.bus.hub.lookup(m.ID); p.callback != nil {
			port = p.callback.bus.port // only its own agent answers for an id
		}
	}
	e.called.Store(true)
	e.outstanding.Add(1)
	defer e.outstanding.Add(-1)
	call, err := e.calls.Begin(m.ID, port, p)
	if err != nil {
		return connector.Event{}, err
	}
	m.Seq, m.Ack = call.Seq, call.Ack
	if err = e.route(ctx, &m, to, p); err != nil {
		e.abandon(call, p)
		var op *connector.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return fail(err, false)
	}
	var r result
	select {
	case r = <-p.result:
	case <-ctx.Done():
		r.err = ctx.Err()
		e.abandon(call, p)
	case <-e.done:
		r.err = connector.ErrClosed
		e.abandon(call, p)
	}
	if r.err != nil {
		return fail(r.err, true)
	}
	return r.ev, nil
}

// abandon ends a call that is not waited for any more, and leaves p.result empty.
func (e *Endpoint) abandon(c connector.Call, p *pending) {
	if !e.calls.Cancel(c) {
		<-p.result // its end was decided just now
	}
}

// reply gives the reply m to the call that it belongs to. One that belongs to none is
// counted.
func (e *Endpoint) reply(m *connector.Message, from *connector.From) {
	if !e.isReply(m, from) {
		e.bus.hub.stats.foreign.Add(1)
	}
}

// isReply deals with m if it is a reply, of whatever kind.
func (e *Endpoint) isReply(m *connector.Message, from *connector.From) bool {
	stats := &e.bus.hub.stats
	class, call := e.calls.Match(m, from)
	switch class {
	case connector.ClassReply:
		// Never blocks: the one result, since the call is not outstanding any more.
		call.Tag.(*pending).result <- result{ev: connector.Event{Kind: connector.EventMessage, Msg: m.Clone(), From: *from}}
	case connector.ClassLate:
		stats.late.Add(1)
	case connector.ClassDuplicate:
		stats.duplicate.Add(1)
	case connector.ClassForeign:
		stats.foreign.Add(1)
		return false
	default:
		return false
	}
	return true
}

// failCalls ends the calls that which accepts: their agent is gone.
func (e *Endpoint) failCalls(which func(*pending) bool) {
	for _, c := range e.calls.FailAll(func(c connector.Call) bool { return which(c.Tag.(*pending)) }) {
		c.Tag.(*pending).result <- result{err: connector.ErrAgentGone}
	}
}
