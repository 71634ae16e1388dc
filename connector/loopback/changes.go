package loopback

import (
	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// remove frees the id of c and tells everybody, mu held. What c has been sent
// is handled still.
func (h *Hub) remove(c *callback) {
	id := c.entry.Info().ID
	delete(c.bus.callbacks, id)
	h.registry.Extract(c.entry)
	c.refuse()
	h.watch.IDRemoved(id)
	h.changed(id, true)
}

// changed tells those who asked that id was registered or removed, mu held.
func (h *Hub) changed(id cbid.ID, removed bool) {
	for {
		name, ok := h.watch.Ready()
		if !ok {
			break
		}
		if w := h.watchers[name]; w != nil {
			wake(w.wake)
		}
	}
	m := connector.NotifyMessage(id, removed)
	for number := range h.notify.Fire(id) {
		if g := h.group(number); g != nil {
			// The control id waits for nobody.
			g.send(&sender{}, &m, &connector.From{Group: number, Cred: h.cred}, connector.FullDrop)
		}
	}
}

// control does what a message to the control id asks for.
func (h *Hub) control(e *Endpoint, m *connector.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.closed.Load() {
		return connector.ErrClosed
	}
	return h.notify.Handle(uint64(e.port), m.Data)
}

// failCalls ends the calls that wait for a reply of c.
func (h *Hub) failCalls(c *callback) {
	for _, e := range h.callers() {
		e.failCalls(func(p *pending) bool { return p.callback == c })
	}
}

// failCallsTo ends the calls that wait for a reply of the endpoint with that port.
func (h *Hub) failCallsTo(port uint32) {
	for _, e := range h.callers() {
		e.failCalls(func(p *pending) bool { return p.port == port })
	}
}

// callers are the endpoints with outstanding calls.
func (h *Hub) callers() []*Endpoint {
	h.routes.RLock()
	defer h.routes.RUnlock()
	var all []*Endpoint
	for _, e := range h.ports {
		if e.outstanding.Load() > 0 {
			all = append(all, e)
		}
	}
	return all
}

// wake makes whoever waits on c look again. c has room for one word, which is
// enough: this never blocks.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
