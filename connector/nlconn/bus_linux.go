package nlconn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

var _ connector.Bus = (*Bus)(nil)

// Bus is a process's part in the connector messages of a network namespace. See
// the package comment for what it cannot promise.
type Bus struct {
	cfg    Config
	kernel bool // the kernel's connector hears what is sent
	out    *sender

	ctx    context.Context // of the callbacks
	cancel context.CancelFunc

	mu        sync.Mutex // guards what follows
	closed    bool
	callbacks map[cbid.ID]*callback
	endpoints []*Endpoint
}

// Open opens a bus.
func Open(cfg *Config) (*Bus, error) {
	b := &Bus{cfg: cfg.withDefaults(), callbacks: make(map[cbid.ID]*callback)}
	s, err := b.dial(0, 1)
	if err != nil {
		return nil, err
	}
	if b.kernel, err = s.HasKernel(); err != nil {
		s.Close()
		return nil, err
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.out = newSender(b, s)
	return b, nil
}

func (b *Bus) dial(port uint32, batch int) (*Socket, error) {
	return Dial(&SocketConfig{
		Protocol: b.cfg.Protocol, Port: port, NetNS: b.cfg.NetNS, ReadBuffer: b.cfg.ReadBuffer,
		Credentials: true, Batch: batch,
	})
}

// Port is the port id that Send sends from.
func (b *Bus) Port() uint32 { return b.out.s.Port() }

// AddCallback registers h under id: see IDPort for which ids can be. An id that any process of the
// namespace has registered is refused with connector.ErrDuplicate. An InterestHandler is told once that
// somebody listens, which nobody can know.
func (b *Bus) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	err := b.addCallback(ctx, id, name, h)
	if err != nil {
		return &connector.OpError{Op: "add callback", ID: id, HasID: true, Err: err}
	}
	return nil
}

func (b *Bus) addCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case id == cbid.Control:
		return fmt.Errorf("netlink has no control id: %w", connector.ErrNotSupported)
	case h == nil:
		return fmt.Errorf("no handler: %w", connector.ErrInvalid)
	case len(name) > connector.MaxName || strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("name %.40q: at most %d bytes, no NUL: %w", name, connector.MaxName, connector.ErrInvalid)
	}
	port, err := IDPort(id)
	if err != nil {
		return err
	}
	if err := b.guard(id); err != nil {
		return err
	}
	s, err := b.dial(port, callbackBatch)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return connector.ErrDuplicate
	case err != nil:
		return err
	}
	c := newCallback(b, s, id, name, h)
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.callbacks[id] = c
	}
	b.mu.Unlock()
	if closed {
		s.Close()
		return connector.ErrClosed
	}
	go c.run(true)
	return nil
}

// DelCallback implements connector.Bus. What was sent before it began is handled; what is
// sent while it runs may be lost.
func (b *Bus) DelCallback(ctx context.Context, id cbid.ID) error {
	fail := func(err error) error {
		return &connector.OpError{Op: "delete callback", ID: id, HasID: true, Err: err}
	}
	b.mu.Lock()
	c, closed := b.callbacks[id], b.closed
	if c != nil && !c.within(ctx) {
		delete(b.callbacks, id)
	}
	b.mu.Unlock()
	switch {
	case closed:
		return fail(connector.ErrClosed)
	case c == nil:
		return fail(connector.ErrNoID)
	case c.within(ctx):
		return fail(fmt.Errorf("from its own callback: %w", connector.ErrInvalid))
	}
	c.finish()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fail(fmt.Errorf("it is removed, but still running: %w", ctx.Err()))
	}
}

// Send implements connector.Bus. With neither port nor group only ids that this Bus has
// registered are known.
func (b *Bus) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	if to.Port == 0 && to.Group == 0 {
		b.mu.Lock()
		c := b.callbacks[m.ID]
		b.mu.Unlock()
		if c == nil {
			err := error(connector.ErrNoID)
			if b.ctx.Err() != nil {
				err = connector.ErrClosed
			}
			if len(m.Data) > connector.MaxData {
				err = connector.ErrTooBig
			}
			return &connector.OpError{Op: "send", ID: m.ID, HasID: true, Err: err}
		}
		to.Group = m.ID.Idx
	}
	return b.out.send(ctx, &m, to, false)
}

// Post is Send: netlink confirms nothing more by it.
func (b *Bus) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	return b.Send(ctx, m, to)
}

// guard keeps messages that the kernel's process events would hear away from it.
func (b *Bus) guard(id cbid.ID) error {
	if id.Idx == 1 && b.kernel && !b.cfg.KernelIDs {
		return fmt.Errorf("idx 1 is the kernel's here (see Config.KernelIDs): %w", connector.ErrPermission)
	}
	return nil
}

// Endpoint opens a socket.
func (b *Bus) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, &connector.OpError{Op: "endpoint", Err: err}
	}
	s, err := b.dial(0, endpointBatch)
	if err != nil {
		return nil, err
	}
	e := newEndpoint(b, s)
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.endpoints = append(b.endpoints, e)
		e.wg.Go(e.read)
	}
	b.mu.Unlock()
	if closed {
		s.Close()
		return nil, &connector.OpError{Op: "endpoint", Err: connector.ErrClosed}
	}
	return e, nil
}

func (b *Bus) forget(e *Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.endpoints, e); i >= 0 {
		b.endpoints = slices.Delete(b.endpoints, i, i+1)
	}
}

// Close implements connector.Bus.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.closed = true
	callbacks, endpoints := b.callbacks, slices.Clone(b.endpoints)
	b.callbacks = make(map[cbid.ID]*callback)
	b.mu.Unlock()
	b.cancel()
	for _, c := range callbacks {
		c.s.Close()
	}
	for _, e := range endpoints {
		e.Close()
	}
	b.out.s.Close()
	for _, c := range callbacks {
		<-c.done
	}
	return nil
}
