package loopback

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
)

// follow is a wish to know when a port is gone.
type follow struct {
	bus  *Bus
	port uint32
	gone func()
	over atomic.Bool // gone was called, or is not to be
}

// FollowPort implements connector.PortBus.
func (b *Bus) FollowPort(ctx context.Context, port uint32, gone func()) (stop func(), err error) {
	fail := func(err error) (func(), error) {
		return nil, &connector.OpError{Op: "follow", Port: port, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if port == 0 || gone == nil {
		return fail(connector.ErrInvalid)
	}
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.closed.Load() {
		return fail(connector.ErrClosed)
	}
	f := &follow{bus: b, port: port, gone: gone}
	if h.agents[port] == nil && h.endpoint(port) == nil {
		f.fire()
		return f.stop, nil
	}
	if len(b.follows) >= h.config.Follows {
		return fail(fmt.Errorf("%d follows: %w", h.config.Follows, connector.ErrLimit))
	}
	b.follows[f] = struct{}{}
	if h.followers[port] == nil {
		h.followers[port] = make(map[*follow]struct{})
	}
	h.followers[port][f] = struct{}{}
	return f.stop, nil
}

func (f *follow) stop() {
	if f.over.Swap(true) {
		return
	}
	f.bus.hub.mu.Lock()
	defer f.bus.hub.mu.Unlock()
	f.drop()
}

// drop forgets f, Hub.mu held.
func (f *follow) drop() {
	h := f.bus.hub
	delete(f.bus.follows, f)
	delete(h.followers[f.port], f)
	if len(h.followers[f.port]) == 0 {
		delete(h.followers, f.port)
	}
}

// portGone tells those who follow the port, Hub.mu held.
func (h *Hub) portGone(port uint32) {
	for f := range h.followers[port] {
		delete(f.bus.follows, f)
		f.fire()
	}
	delete(h.followers, port)
}

// fire calls gone, Hub.mu held, and its Bus not closed.
func (f *follow) fire() {
	f.bus.gones.Go(func() {
		if f.over.Swap(true) || f.bus.closed.Load() {
			return
		}
		defer func() {
			if v := recover(); v != nil {
				f.bus.hub.stats.panics.Add(1)
				f.bus.hub.config.Log.LogAttrs(context.Background(), slog.LevelError, "panic of who follows a port",
					slog.Uint64("port", uint64(f.port)), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			}
		}()
		f.gone()
	})
}
