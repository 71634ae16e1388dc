package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/internal/frame"
	"github.com/cnbus/cnbus/tsocket"
)

// Bus puts this process on the broker's bus without a socket, with the broker's own credentials; name is for
// people. Serve must be running, or about to. The Bus ends with the broker, without reconnecting.
//
// It is what client.Dial gives, but that a callback marked by connector.Inline runs on the broker's loop, between the
// reading of the message and the writing of its reply: nothing else of the broker goes on meanwhile. Such a callback
// must be short and must not wait, not even for the broker: of the Bus it may use Post, which refuses with ErrWouldBlock what
// would have to wait, and it may detach a message and reply from another goroutine.
func (b *Broker) Bus(ctx context.Context, name string) (connector.Bus, error) {
	s := &Bus{loop: b.loop}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	c, err := client.Dial(ctx, &client.Config{
		Name: name, Logger: b.log, Reconnect: client.Reconnect{Disabled: true},
		Stream: func(ctx context.Context) (*tsocket.Stream, error) {
			p, stream, err := b.loop.localPair(ctx)
			if err == nil {
				s.first.Do(func() { s.agent = p })
			}
			return stream, err
		},
	})
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.Bus = c
	return s, nil
}

// Bus is a place on the bus within the broker's process.
type Bus struct {
	*client.Bus
	loop   *loop
	ctx    context.Context // of callbacks on the loop
	cancel context.CancelFunc
	first  sync.Once // sets agent
	agent  *local
	onLoop atomic.Bool // something of this Bus has run on the loop, or is about to
	frame  []byte      // of post; the loop's
}

var _ connector.Runner = (*Bus)(nil)

// within reports whether the caller is a callback on the loop.
func (s *Bus) within() bool { return s.onLoop.Load() && s.loop.sock.Inside() }

// Run implements connector.Runner.
func (s *Bus) Run(fn func()) bool {
	s.onLoop.Store(true)
	return s.loop.post(fn)
}

// Loop is the broker's loop, for sockets of this process that are to be read where callbacks run that are marked by connector.Inline; what
// is true of those is true of their handlers. The sockets are closed with it.
func (s *Bus) Loop() *tsocket.Loop { return s.loop.sock }

var errWithin = fmt.Errorf("called by a callback on the broker's loop, which it would wait for: %w", connector.ErrInvalid)

// AddCallback implements connector.Bus.
func (s *Bus) AddCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler) error {
	return s.add(ctx, id, h, func(h connector.Handler) error { return s.Bus.AddCallback(ctx, id, name, h) })
}

// AddSiteCallback implements connector.SiteBus.
func (s *Bus) AddSiteCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler, opt connector.SiteOptions) error {
	return s.add(ctx, id, h, func(h connector.Handler) error { return s.Bus.AddSiteCallback(ctx, id, name, h, opt) })
}

// add registers h by register; one that is marked is put where the hub finds it before.
func (s *Bus) add(ctx context.Context, id cbid.ID, h connector.Handler, register func(connector.Handler) error) error {
	fail := func(err error) error { return &connector.OpError{Op: "add callback", ID: id, HasID: true, Err: err} }
	if s.within() {
		return fail(errWithin)
	}
	if !connector.IsInline(h) {
		return register(h)
	}
	hub, owner := s.loop.hub, s.agent.c
	in := newInline(hub, owner, id, h)
	in.ctx, in.log = s.ctx, hub.log
	taken := false
	err := s.loop.do(ctx, func() {
		if taken = owner.inlines[id.Key()] != nil; taken {
			return
		}
		if owner.inlines == nil {
			owner.inlines = make(map[uint64]*inline)
		}
		owner.inlines[id.Key()] = in
	})
	if err == nil && taken {
		err = connector.ErrDuplicate
	}
	if err != nil {
		return fail(err)
	}
	s.onLoop.Store(true)
	// Nothing is ever sent to the client's side of it.
	if err = register(connector.HandlerFunc(h.Handle)); err != nil {
		s.loop.post(func() {
			in.mute = true
			if r := owner.regs[id.Key()]; r == nil || r.inline != in {
				delete(owner.inlines, id.Key())
			}
		})
	}
	return err
}

// DelCallback implements connector.Bus.
func (s *Bus) DelCallback(ctx context.Context, id cbid.ID) error {
	if s.within() {
		return &connector.OpError{Op: "delete callback", ID: id, HasID: true, Err: errWithin}
	}
	return s.Bus.DelCallback(ctx, id)
}

// Send implements connector.Bus.
func (s *Bus) Send(ctx context.Context, m connector.Message, to connector.Dest) error {
	if s.within() {
		return &connector.OpError{Op: "send", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: errWithin}
	}
	return s.Bus.Send(ctx, m, to)
}

// FollowPort implements connector.PortBus.
func (s *Bus) FollowPort(ctx context.Context, port uint32, gone func()) (stop func(), err error) {
	if s.within() {
		return nil, &connector.OpError{Op: "follow", Port: port, Err: errWithin}
	}
	return s.Bus.FollowPort(ctx, port, gone)
}

// Endpoint implements connector.Bus.
func (s *Bus) Endpoint(ctx context.Context) (connector.Endpoint, error) {
	if s.within() {
		return nil, &connector.OpError{Op: "endpoint", Err: errWithin}
	}
	return s.Bus.Endpoint(ctx)
}

// Watch implements connector.WatchBus.
func (s *Bus) Watch(ctx context.Context, set *cbid.Set) (connector.Watcher, error) {
	if s.within() {
		return nil, &connector.OpError{Op: "watch", Err: errWithin}
	}
	return s.Bus.Watch(ctx, set)
}

// SetHistory implements connector.HistoryBus.
func (s *Bus) SetHistory(ctx context.Context, group uint32, h connector.History) error {
	if s.within() {
		return &connector.OpError{Op: "history", Group: group, Err: errWithin}
	}
	return s.Bus.SetHistory(ctx, group, h)
}

// Post implements connector.Poster.
func (s *Bus) Post(ctx context.Context, m connector.Message, to connector.Dest) error {
	over := s.loop.over.Load()
	if !over && !s.within() {
		return s.Bus.Post(ctx, m, to)
	}
	return s.postWithin(&m, to, over)
}

// PostHere implements connector.Runner.
func (s *Bus) PostHere(m connector.Message, to connector.Dest) error {
	return s.postWithin(&m, to, s.loop.over.Load())
}

// postWithin is Post on the loop, or when that is over.
func (s *Bus) postWithin(m *connector.Message, to connector.Dest, over bool) error {
	var err error
	switch {
	case over: // what still runs in the place of the loop must not wait for it
		err = connector.ErrClosed
	case to.Port != 0 && to.Group != 0:
		err = fmt.Errorf("both a port and a group: %w", connector.ErrInvalid)
	case s.agent.c.closed || s.ctx.Err() != nil:
		err = connector.ErrClosed
	case len(m.Data) > connector.MaxData:
		err = connector.ErrTooBig
	default:
		if !s.post(m, to) {
			err = connector.ErrWouldBlock
		}
	}
	if err != nil {
		return &connector.OpError{Op: "post", ID: m.ID, HasID: true, Port: to.Port, Group: to.Group, Err: err}
	}
	return nil
}

// PostMore implements connector.Corker.
func (s *Bus) PostMore(ctx context.Context, m connector.Message, to connector.Dest) error {
	if over := s.loop.over.Load(); over || s.within() {
		return s.postWithin(&m, to, over)
	}
	return s.Bus.PostMore(ctx, m, to)
}

// post gives m to the hub on the loop. It returns false if m would have to wait.
func (s *Bus) post(m *connector.Message, to connector.Dest) bool {
	h, c := s.loop.hub, s.agent.c
	if c.paused || c.stopped[key(m, to)] != nil && waits(to) {
		return false // once told Stop it keeps to it; what it may overrun by is for what is on its way when Stop comes
	}
	hd := frame.Header{Type: frame.Send, Port: to.Port, Group: to.Group, Len: uint32(frame.HeaderLen + connector.HeaderLen + len(m.Data))}
	if to.Port == 0 && to.Group == 0 {
		hd.Flags = frame.FlagAgent
	}
	switch to.Full {
	case connector.FullWait:
		hd.Flags |= frame.FlagWait
	case connector.FullDrop:
		hd.Flags |= frame.FlagDrop
	}
	fr := s.frame
	s.frame = nil // what is sent may be handled at once, and what handles it may post
	if cap(fr) < int(hd.Len) {
		fr = make([]byte, 0, hd.Len)
	}
	fr = hd.Append(fr[:0])
	fr, _ = m.AppendNative(fr, c.port) // its length was looked at
	hd.Put(fr)
	defer func() { s.frame = fr[:0] }()
	c.stat.FramesIn++
	if !h.send(c, &hd, fr) {
		c.stat.FramesIn--
		h.resume(c)
		return false
	}
	return true
}

// key is how the hub names the receiver of m in Stop.
func key(m *connector.Message, to connector.Dest) stopKey {
	if to.Port == 0 && to.Group == 0 {
		return stopKey{group: m.ID.Idx}
	}
	return stopKey{port: to.Port, group: to.Group}
}

// waits reports whether a message to that receiver waits for Go.
func waits(to connector.Dest) bool {
	return to.Full == connector.FullWait || to.Full != connector.FullDrop && to.Port != 0
}

// Close implements connector.Bus.
func (s *Bus) Close() error {
	s.cancel()
	return s.Bus.Close()
}
