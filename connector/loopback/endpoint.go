package loopback

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Endpoint is a port on a Hub. It is a connector.Endpoint and HistoryEndpoint.
type Endpoint struct {
	bus    *Bus
	port   uint32
	from   connector.From // of what it sends to one receiver
	closed atomic.Bool
	last   atomic.Pointer[connector.Entry] // the callback to which it sent last, if that is quick
	done   chan struct{}                   // closed by Close
	queue  queue

	calls       *connector.Genealogy
	called      atomic.Bool  // there was a call: messages may be replies
	outstanding atomic.Int32 // calls
	results     results

	members map[uint32]*member // by group; guarded by Hub.mu
}

var (
	_ connector.Endpoint        = (*Endpoint)(nil)
	_ connector.HistoryEndpoint = (*Endpoint)(nil)
)

func newEndpoint(b *Bus, port uint32) *Endpoint {
	e := &Endpoint{
		bus: b, port: port, from: connector.From{Port: port, Cred: b.hub.cred}, done: make(chan struct{}), members: make(map[uint32]*member),
		calls: connector.NewGenealogy(&connector.GenealogyConfig{Limit: b.hub.config.Calls}),
	}
	e.queue.init(b.hub.config.QueueMessages, b.hub.config.QueueBytes)
	return e
}

// Port implements connector.Endpoint.
func (e *Endpoint) Port() uint32 { return e.port }

// Send implements connector.Endpoint.
func (e *Endpoint) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	if last := e.again(&m, to.Port|to.Group); last != nil && ctx.Err() == nil {
		if last.Take() {
			last.HandleTaken(&m, &e.from)
			return nil
		} else if last.Behind(&m, &e.from) == nil {
			return nil
		}
	}
	return e.send(ctx, &m, to)
}

// Post implements connector.Endpoint. That nobody is there to receive is told by
// an EventFailed; only when the stream is full of those, by the error. Whether ctx has
// ended makes no difference to a message for which nothing is waited.
func (e *Endpoint) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	last := e.again(&m, to.Port|to.Group)
	if last != nil && last.Take() {
		last.HandleTaken(&m, &e.from)
		return nil
	}
	return e.post(ctx, last, &m, to)
}

// again returns the callback that had the last message, if m, which is for the id alone when to is 0, is
// for that and nothing is in the way. It may have been removed: then it refuses m.
func (e *Endpoint) again(m *connector.Message, to uint32) *connector.Entry {
	last := e.last.Load()
	if last != nil && last.Is(m.ID) && to == 0 && len(m.Data) <= connector.MaxData && !e.closed.Load() {
		return last
	}
	return nil
}

func (e *Endpoint) send(ctx context.Context, m *connector.Message, to connector.Dest) error {
	if err := check(ctx, m, to, e.closed.Load()); err != nil {
		return sendError(m, to, err)
	}
	return e.route(ctx, m, to, nil)
}

// post is Post when last, unless nil, was not idle.
func (e *Endpoint) post(ctx context.Context, last *connector.Entry, m *connector.Message, to connector.Dest) error {
	if last != nil && last.Behind(m, &e.from) == nil {
		return nil
	}
	if err := check(ctx, m, to, e.closed.Load()); err != nil {
		return sendError(m, to, err)
	}
	err := e.route(ctx, m, to, nil)
	if err != nil && deferred(err) {
		e.bus.hub.stats.postFailed.Add(1)
		if e.queue.fail(m, to, err) {
			return nil
		}
	}
	return err
}

// route sends m, which was checked; as a call, if p is given.
func (e *Endpoint) route(ctx context.Context, m *connector.Message, to connector.Dest, p *pending) error {
	h := e.bus.hub
	from := e.from
	s := sender{ctx: ctx, done: e.done}
	switch {
	case to.Port != 0:
		return h.unicast(&s, m, &from, to)
	case to.Group != 0:
		return h.multicast(&s, m, &from, to)
	case m.ID == cbid.Control:
		return e.control(m, p != nil)
	}
	c := h.lookup(m.ID)
	if p != nil {
		c = p.callback
	}
	err := error(connector.ErrNoID)
	if c != nil {
		if c.inline && e.last.Load() != c.entry {
			e.last.Store(c.entry)
		}
		err = c.deliver(&s, m, &from, p != nil, to.Full)
	}
	if err != nil {
		return sendError(m, to, err)
	}
	return nil
}

// control has the control id handle m. Who calls gets the answer by a reply.
func (e *Endpoint) control(m *connector.Message, call bool) error {
	err := e.bus.hub.control(e, m)
	if call {
		reply := connector.Message{ID: m.ID, Seq: m.Seq, Ack: m.Ack + 1, Data: connector.AppendCtlResult(nil, err)}
		e.reply(&reply, &connector.From{Cred: e.bus.hub.cred})
		return nil
	}
	return err
}

// Recv implements connector.Endpoint.
func (e *Endpoint) Recv(ctx context.Context) (connector.Event, error) {
	for {
		ev, ok, more := e.queue.take()
		switch {
		case e.closed.Load():
			return connector.Event{}, e.error("receive", 0, connector.ErrClosed)
		case ok:
			return ev, nil
		case more:
			e.catchUp()
			continue
		}
		if err := ctx.Err(); err != nil {
			return connector.Event{}, e.error("receive", 0, err)
		}
		select {
		case <-e.queue.wake:
		case <-e.done:
		case <-ctx.Done():
		}
	}
}

func (e *Endpoint) error(op string, group uint32, err error) error {
	return &connector.OpError{Op: op, Port: e.port, Group: group, Err: err}
}

// Join implements connector.Endpoint.
func (e *Endpoint) Join(ctx context.Context, group uint32) error { return e.join(ctx, group, nil) }

// JoinAt implements connector.HistoryEndpoint. It refuses a group that the endpoint is in:
// Leave first.
func (e *Endpoint) JoinAt(ctx context.Context, group uint32, at connector.Position) error {
	return e.join(ctx, group, &at)
}

func (e *Endpoint) join(ctx context.Context, number uint32, at *connector.Position) error {
	if err := ctx.Err(); err != nil {
		return e.error("join", number, err)
	}
	h := e.bus.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case e.closed.Load():
		return e.error("join", number, connector.ErrClosed)
	case number == 0:
		return e.error("join", number, fmt.Errorf("group 0: %w", connector.ErrInvalid))
	case e.members[number] != nil && at == nil:
		return nil
	case e.members[number] != nil:
		return e.error("join", number, fmt.Errorf("a member already: %w", connector.ErrInvalid))
	case e.bus.memberships >= h.config.Memberships:
		return e.error("join", number, fmt.Errorf("%d memberships: %w", h.config.Memberships, connector.ErrLimit))
	}
	e.members[number] = h.join(e, number, at)
	e.bus.memberships++
	return nil
}

// Leave implements connector.Endpoint.
func (e *Endpoint) Leave(ctx context.Context, group uint32) error {
	if err := ctx.Err(); err != nil {
		return e.error("leave", group, err)
	}
	h := e.bus.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.closed.Load() {
		return e.error("leave", group, connector.ErrClosed)
	}
	if m := e.members[group]; m != nil {
		e.leave(m)
	}
	return nil
}

// leave ends a membership, Hub.mu held.
func (e *Endpoint) leave(m *member) {
	delete(e.members, m.group.number)
	e.bus.memberships--
	e.bus.hub.leave(m)
}

// Epoch implements connector.HistoryEndpoint.
func (e *Endpoint) Epoch(group uint32) uint64 {
	h := e.bus.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := e.members[group]; m != nil {
		return m.group.epoch()
	}
	return 0
}

// Close implements connector.Endpoint.
func (e *Endpoint) Close() error {
	h := e.bus.hub
	h.mu.Lock()
	open := e.end()
	h.mu.Unlock()
	if open {
		h.failCallsTo(e.port)
	}
	return nil
}

// end takes the endpoint off the bus, Hub.mu held. It reports false when it was off before.
func (e *Endpoint) end() bool {
	if e.closed.Swap(true) {
		return false
	}
	h := e.bus.hub
	close(e.done)
	for _, m := range e.members {
		e.leave(m)
	}
	h.notify.DropOwner(uint64(e.port))
	delete(e.bus.endpoints, e)
	h.routes.Lock()
	delete(h.ports, e.port)
	h.routes.Unlock()
	h.portGone(e.port)
	e.queue.close()
	return true
}
