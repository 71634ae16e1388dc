package loopback

import (
	"context"
	"fmt"
	"sync"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Watcher is a connector.Watcher.
type Watcher struct {
	bus  *Bus
	name uint64 // in the hub's table
	wake chan struct{}
	done chan struct{}
	once sync.Once // closes done
}

// Watch implements connector.WatchBus.
func (b *Bus) Watch(ctx context.Context, set *cbid.Set) (connector.Watcher, error) {
	fail := func(err error) (connector.Watcher, error) { return nil, &connector.OpError{Op: "watch", Err: err} }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case b.closed.Load():
		return fail(connector.ErrClosed)
	case len(b.watchers) >= h.config.Watches:
		return fail(fmt.Errorf("%d watches: %w", h.config.Watches, connector.ErrLimit))
	}
	h.lastName++
	w := &Watcher{bus: b, name: h.lastName, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := h.watch.Add(w.name, set); err != nil {
		return nil, err
	}
	h.watchers[w.name] = w
	b.watchers[w] = struct{}{}
	return w, nil
}

// Next implements connector.Watcher.
func (w *Watcher) Next(ctx context.Context) (connector.Change, error) {
	fail := func(err error) (connector.Change, error) {
		return connector.Change{}, &connector.OpError{Op: "watch", Err: err}
	}
	h := w.bus.hub
	for {
		select {
		case <-w.done:
			return fail(connector.ErrClosed)
		default:
		}
		h.mu.Lock()
		c, ok := h.watch.Next(w.name)
		h.mu.Unlock()
		if ok {
			return c, nil
		}
		select {
		case <-w.wake:
		case <-w.done:
		case <-ctx.Done():
			return fail(ctx.Err())
		}
	}
}

// Close implements connector.Watcher.
func (w *Watcher) Close() error {
	h := w.bus.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	w.end()
	return nil
}

// end ends the watch, Hub.mu held.
func (w *Watcher) end() {
	h := w.bus.hub
	h.watch.Remove(w.name)
	delete(h.watchers, w.name)
	delete(w.bus.watchers, w)
	w.once.Do(func() { close(w.done) })
}
