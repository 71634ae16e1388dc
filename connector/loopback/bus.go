package loopback

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Bus is a process's handle on a Hub. It is a connector.Bus, WatchBus, HistoryBus, PortBus and
// Poster.
type Bus struct {
	hub      *Hub
	port     uint32 // of the agent
	ctx      context.Context
	cancel   context.CancelFunc
	closed   atomic.Bool
	finished chan struct{} // closed when Close is done

	// Guarded by hub.mu.
	callbacks   map[cbid.ID]*callback
	endpoints   map[*Endpoint]struct{}
	watchers    map[*Watcher]struct{}
	follows     map[*follow]struct{}
	memberships int

	gones sync.WaitGroup // functions that are told of the end of a port; begun under hub.mu while not closed
}

var (
	_ connector.Bus        = (*Bus)(nil)
	_ connector.WatchBus   = (*Bus)(nil)
	_ connector.HistoryBus = (*Bus)(nil)
	_ connector.Poster     = (*Bus)(nil)
	_ connector.PortBus    = (*Bus)(nil)
	_ connector.Replier    = (*Bus)(nil)
)

// Port is the agent's port id, in From.Port of what it sends and replies.
func (b *Bus) Port() uint32 { return b.port }

// AddCallback implements connector.Bus.
func (b *Bus) AddCallback(ctx context.Context, id cbid.ID, name string, handler connector.Handler) error {
	if handler == nil {
		return b.addError(id, fmt.Errorf("no handler: %w", connector.ErrInvalid))
	}
	if err := ctx.Err(); err != nil {
		return b.addError(id, err)
	}
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case b.closed.Load():
		return b.addError(id, connector.ErrClosed)
	case id == cbid.Control:
		return b.addError(id, fmt.Errorf("the control id: %w", connector.ErrDuplicate))
	case h.registry.Lookup(id) != nil:
		return b.addError(id, connector.ErrDuplicate)
	case len(b.callbacks) >= h.config.Callbacks:
		return b.addError(id, fmt.Errorf("%d callbacks: %w", h.config.Callbacks, connector.ErrLimit))
	}
	info := connector.IDInfo{ID: id, Name: name, Group: id.Idx, Port: b.port, Owner: h.cred}
	c, err := b.register(info, handler)
	if err != nil {
		return err
	}
	b.callbacks[id] = c
	c.interest(h.listening(id.Idx))
	h.watch.IDAdded(info)
	h.changed(id, false)
	return nil
}

func (b *Bus) addError(id cbid.ID, err error) error {
	return &connector.OpError{Op: "add callback", ID: id, HasID: true, Err: err}
}

// DelCallback implements connector.Bus. Messages that were taken before are handled
// first. When ctx ends before that, the id is removed, but its callback is still running.
func (b *Bus) DelCallback(ctx context.Context, id cbid.ID) error {
	fail := func(err error) error {
		return &connector.OpError{Op: "delete callback", ID: id, HasID: true, Err: err}
	}
	h := b.hub
	h.mu.Lock()
	c := b.callbacks[id]
	switch {
	case b.closed.Load():
		h.mu.Unlock()
		return fail(connector.ErrClosed)
	case c == nil:
		h.mu.Unlock()
		return fail(connector.ErrNoID)
	case ctx.Value(callbackKey{}) == any(c):
		h.mu.Unlock()
		return fail(fmt.Errorf("called from its own callback: %w", connector.ErrInvalid))
	}
	h.remove(c)
	h.mu.Unlock()
	select {
	case <-c.entry.Drained():
		h.failCalls(c)
		return nil
	case <-ctx.Done():
		h.failCalls(c)
		return fail(fmt.Errorf("it is removed, but still running: %w", ctx.Err()))
	}
}

// Send implements connector.Bus.
func (b *Bus) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	if err := check(ctx, &m, to, b.closed.Load()); err != nil {
		return sendError(&m, to, err)
	}
	return b.route(ctx, &m, to)
}

// Post implements connector.Poster. A message for nobody is counted in Stats.PostFailed.
func (b *Bus) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	if err := check(ctx, &m, to, b.closed.Load()); err != nil {
		return sendError(&m, to, err)
	}
	err := b.route(ctx, &m, to)
	if err != nil && deferred(err) {
		b.hub.stats.postFailed.Add(1)
		return nil
	}
	return err
}

func (b *Bus) route(ctx context.Context, m *connector.Message, to connector.Dest) error {
	from := connector.From{Port: b.port, Cred: b.hub.cred}
	s := sender{ctx: ctx, done: b.ctx.Done()}
	if to.Port != 0 {
		return b.hub.unicast(&s, m, &from, to)
	}
	if to.Group == 0 {
		c := b.hub.lookup(m.ID)
		if c == nil {
			return sendError(m, to, connector.ErrNoID)
		}
		to.Group = m.ID.Idx
	}
	return b.hub.multicast(&s, m, &from, to)
}

// Reply implements connector.Replier; see Delivery.Reply.
func (b *Bus) Reply(_ context.Context, d *connector.Delivery, data []byte) error {
	m := connector.Message{ID: d.Msg.ID, Seq: d.Msg.Seq, Ack: d.Msg.Ack + 1, Data: data}
	fail := func(err error) error {
		return &connector.OpError{Op: "reply", ID: m.ID, HasID: true, Port: d.From.Port, Err: err}
	}
	if len(data) > connector.MaxData {
		return fail(fmt.Errorf("%d bytes of data: %w", len(data), connector.ErrTooBig))
	}
	to := b.hub.endpoint(d.From.Port)
	if to == nil {
		return fail(connector.ErrNoPort)
	}
	from := connector.From{Port: b.port, Cred: b.hub.cred}
	if d.Call {
		to.reply(&m, &from)
		return nil
	}
	switch to.queue.put(&m, &from, 0) {
	case putClosed:
		return fail(connector.ErrNoPort)
	case putFull:
		b.hub.stats.dropped.Add(1)
	}
	return nil
}

// Endpoint implements connector.Bus.
func (b *Bus) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, &connector.OpError{Op: "endpoint", Err: err}
	}
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case b.closed.Load():
		return nil, &connector.OpError{Op: "endpoint", Err: connector.ErrClosed}
	case len(b.endpoints) >= h.config.Endpoints:
		return nil, &connector.OpError{Op: "endpoint", Err: fmt.Errorf("%d endpoints: %w", h.config.Endpoints, connector.ErrLimit)}
	}
	e := newEndpoint(b, h.newPort())
	b.endpoints[e] = struct{}{}
	h.routes.Lock()
	h.ports[e.port] = e
	h.routes.Unlock()
	return e, nil
}

// Close implements connector.Bus.
func (b *Bus) Close() error {
	h := b.hub
	h.mu.Lock()
	if b.closed.Swap(true) {
		h.mu.Unlock()
		<-b.finished
		return nil
	}
	b.cancel()
	var gone []*callback
	for _, c := range b.callbacks {
		gone = append(gone, c)
		h.remove(c)
	}
	for w := range b.watchers {
		w.end()
	}
	for f := range b.follows {
		f.drop()
	}
	delete(h.agents, b.port)
	h.portGone(b.port)
	var ports []uint32
	for e := range b.endpoints {
		ports = append(ports, e.port)
		e.end()
	}
	h.mu.Unlock()
	for _, port := range ports {
		h.failCallsTo(port)
	}
	for _, c := range gone {
		h.failCalls(c)
	}
	for _, c := range gone {
		<-c.entry.Drained()
		h.failCalls(c) // what was begun since
	}
	b.gones.Wait()
	close(b.finished)
	return nil
}
