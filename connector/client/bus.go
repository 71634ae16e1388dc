package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// Bus is a process's place on a broker's bus. It implements connector.Bus,
// connector.WatchBus, connector.HistoryBus, connector.PortBus, and Post.
type Bus struct {
	cfg   *Config
	agent *agent
	stats counters
	pool  opPool

	mu     sync.Mutex // guards what follows
	closed bool
	parts  map[part]struct{} // what Close closes: endpoints, watchers, monitors
}

// part has a connection of its own.
type part interface{ Close() error }

var (
	_ connector.Bus             = (*Bus)(nil)
	_ connector.WatchBus        = (*Bus)(nil)
	_ connector.HistoryBus      = (*Bus)(nil)
	_ connector.PortBus         = (*Bus)(nil)
	_ connector.SiteBus         = (*Bus)(nil)
	_ connector.Endpoint        = (*Endpoint)(nil)
	_ connector.HistoryEndpoint = (*Endpoint)(nil)
	_ connector.Watcher         = (*Watcher)(nil)
)

// Dial connects to a broker. A nil config is the zero one. ctx bounds the dialling only.
func Dial(ctx context.Context, config *Config) (*Bus, error) {
	if config != nil && len(config.Name) > frame.MaxName {
		return nil, opErr("dial", fmt.Errorf("name of %d bytes, at most %d: %w", len(config.Name), frame.MaxName, connector.ErrInvalid))
	}
	b := &Bus{cfg: config.withDefaults(), parts: make(map[part]struct{})}
	l, err := dialLink(ctx, b.cfg)
	if err != nil {
		return nil, opErr("dial", err)
	}
	b.agent = newAgent(b, l)
	return b, nil
}

// Port returns the port id of the agent side, which `cnbus ls` shows as the
// owner of the registrations. After a reconnection it is another.
func (b *Bus) Port() uint32 { return b.agent.port.Load() }

// Endpoint opens a socket on the bus, with a connection of its own.
func (b *Bus) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	e, err := b.OpenEndpoint(ctx)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// OpenEndpoint is Endpoint with all that this carrier's endpoints can do.
func (b *Bus) OpenEndpoint(ctx context.Context) (*Endpoint, error) {
	if err := b.open(); err != nil {
		return nil, opErr("endpoint", err)
	}
	e, err := openEndpoint(ctx, b)
	if err == nil {
		err = b.remember(e)
	}
	if err != nil {
		return nil, opErr("endpoint", err)
	}
	return e, nil
}

func (b *Bus) open() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return connector.ErrClosed
	}
	return nil
}

// remember makes Close close p, and closes it now if that is over.
func (b *Bus) remember(p part) error {
	b.mu.Lock()
	if !b.closed {
		b.parts[p] = struct{}{}
		b.mu.Unlock()
		return nil
	}
	b.mu.Unlock()
	_ = p.Close()
	return connector.ErrClosed
}

func (b *Bus) forget(p part) {
	b.mu.Lock()
	delete(b.parts, p)
	b.mu.Unlock()
}

// Close closes the endpoints, watchers and monitors of the Bus, removes its
// registrations and waits for its handlers, which must therefore not call it. Messages that
// wait for a handler are dropped; DelCallback before lets them be handled.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	parts := make([]part, 0, len(b.parts))
	for p := range b.parts {
		parts = append(parts, p)
	}
	b.mu.Unlock()
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() { _ = p.Close() })
	}
	wg.Wait()
	b.agent.close()
	return nil
}

// AddCallback registers h under id.
func (b *Bus) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	return idErr("add callback", id, b.agent.addCallback(ctx, id, name, h, nil))
}

// AddSiteCallback registers h under id for all the hosts of the site that the broker has joined.
func (b *Bus) AddSiteCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler, opt connector.SiteOptions) error {
	return idErr("add callback", id, b.agent.addCallback(ctx, id, name, h, &opt))
}

// DelCallback removes a registration and returns when no handler of it runs.
func (b *Bus) DelCallback(ctx context.Context, id cbid.ID) error {
	return idErr("delete callback", id, b.agent.delCallback(ctx, id))
}

// Send is cn_netlink_send_mult: see connector.Bus.
func (b *Bus) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	a := b.agent
	o := a.newOp(opSend)
	l, end, err := a.transmit(ctx, o, &m, to, a.flags(to)|frame.FlagAck, paceNow)
	if err == nil {
		if err = a.await(ctx, o, &a.ops); err != nil {
			err = sendErr("send", m.ID, to, err, true)
		} else if o.err != nil {
			err = sendErr("send", m.ID, to, o.err, o.broken && l.w.wasWritten(end))
		}
	}
	o.free()
	return err
}

// Post is Send without the confirmation, many times faster: it returns when the
// message is on its way to the broker. A later failure is told to Config.OnEvent by an
// EventFailed. It waits when the receiver is known to be full.
func (b *Bus) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	_, _, err := b.agent.transmit(ctx, nil, &m, to, b.agent.flags(to), paceBatch)
	return err
}

// PostMore implements connector.Corker.
func (b *Bus) PostMore(ctx context.Context, m connector.Message, to connector.Dest) error {
	_, _, err := b.agent.transmit(ctx, nil, &m, to, b.agent.flags(to), paceCork)
	return err
}

// Flush implements connector.Corker.
func (b *Bus) Flush() { b.agent.uncork() }

// SetHistory makes a group keep its last messages. A callback with id.Idx equal
// to group must be registered by this Bus. It is set again after a reconnection.
func (b *Bus) SetHistory(ctx context.Context, group uint32, h connector.History) error {
	return groupErr("history", group, b.agent.setHistory(ctx, group, h))
}

// Ping returns when the broker has handled everything that the agent side sent before.
func (b *Bus) Ping(ctx context.Context) error {
	_, err := b.agent.request(ctx, frame.Header{Type: frame.Ping}, nil, nil)
	return opErr("ping", err)
}
