package loopback

import (
	"context"
	"slices"
	"sync"

	"github.com/cnbus/cnbus/connector"
)

// callback is a registration. It bounds what waits for the handler and keeps its
// senders in order.
type callback struct {
	bus    *Bus
	entry  *connector.Entry
	inline bool
	run    func() // entry.Run, made once so that starting it allocates nothing

	mu      sync.Mutex // guards what follows
	full    bool       // the mailbox is: senders wait, in order
	gone    bool       // removed
	waiters []*callbackWaiter
}

type callbackWaiter struct {
	d    *connector.Delivery
	done chan error // has room for the one result
}

// callbackKey is the key by which the context of a handler knows whose callback it is.
type callbackKey struct{}

// register adds h to the registry as a callback of b.
func (b *Bus) register(info connector.IDInfo, h connector.Handler) (*callback, error) {
	c := &callback{bus: b, inline: connector.IsInline(h)}
	_, err := b.hub.registry.Bind(info, h, &connector.Binding{
		Context: context.WithValue(b.ctx, callbackKey{}, c), Via: b, Tag: c,
		Bound: func(e *connector.Entry) { c.entry, c.run = e, e.Run }, // who sends may find it before Bind returns
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// interest has the handler told, in order with its messages.
func (c *callback) interest(listening bool) {
	if c.entry.EnqueueInterest(listening) {
		go c.run()
	}
}

// deliver gives m to the handler: now, if that is marked as quick, else behind
// what it has. An error is one of the sentinels or of the context.
func (c *callback) deliver(s *sender, m *connector.Message, from *connector.From, call bool, full connector.WhenFull) error {
	if c.inline {
		switch err := c.entry.Deliver(s.ctx, m, from, call, c.bus, connector.FullDrop); {
		case err == nil:
			return nil
		case err == error(connector.ErrNoID):
			return err
		}
		// Its mailbox is full.
	}
	return c.queue(s, &connector.Delivery{Msg: *m, From: *from, Call: call, Via: c.bus}, full)
}

// queue puts d in the mailbox, which another goroutine empties.
func (c *callback) queue(s *sender, d *connector.Delivery, full connector.WhenFull) error {
	c.mu.Lock()
	switch {
	case c.gone:
		c.mu.Unlock()
		return connector.ErrNoID
	case !c.full:
		err := c.enqueue(d)
		c.mu.Unlock()
		return err
	case full == connector.FullDrop || s.ctx.Value(callbackKey{}) == any(c): // it would wait for itself
		c.mu.Unlock()
		return connector.ErrWouldBlock
	}
	w := &callbackWaiter{d: d.Detach(), done: make(chan error, 1)}
	c.waiters = append(c.waiters, w)
	c.mu.Unlock()
	err, answered := s.wait(w.done)
	if answered {
		return err
	}
	c.mu.Lock()
	at := slices.Index(c.waiters, w)
	if at >= 0 {
		c.waiters = slices.Delete(c.waiters, at, at+1)
	}
	c.mu.Unlock()
	if at < 0 {
		return <-w.done // it was taken just now
	}
	return err
}

// enqueue puts d in the mailbox, mu held.
func (c *callback) enqueue(d *connector.Delivery) error {
	queued, err := c.entry.Enqueue(d, nil)
	if err != nil {
		return connector.ErrNoID
	}
	c.full = queued.Full
	if queued.Start {
		go c.run()
	}
	return nil
}

// hasRoom is called when the full mailbox has been emptied.
func (c *callback) hasRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = false
	n := 0
	for n < len(c.waiters) && !c.full {
		w := c.waiters[n]
		w.done <- c.enqueue(w.d)
		n++
	}
	c.waiters = slices.Delete(c.waiters, 0, n)
}

// refuse ends those who wait for room: the id has been removed.
func (c *callback) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	for _, w := range c.waiters {
		w.done <- connector.ErrNoID
	}
	c.waiters = nil
}
