package bussock

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// ListenConfig is how a Listener works. nil, and zero values, mean the defaults.
type ListenConfig struct {
	// Name is shown to people, by `cnbus ls` for instance: at most 31 bytes. Default "listener".
	Name string

	// Backlog is how many connections may wait to be accepted, default 128; further ones are refused
	// by ECONNREFUSED.
	Backlog int

	// Handshake is how long a connection may take until the other end has said that it knows of it, which keeps a place in the
	// backlog; default 10 s.
	Handshake time.Duration

	// Allow decides who may connect; the error's errno, or EACCES, and its text go to who may not. It is called
	// from the bus and must not block. nil: everybody whom the policy of the bus lets.
	Allow func(from connector.From) error
}

const (
	defaultBacklog   = 128
	defaultHandshake = 10 * time.Second
)

// Listener accepts the streams that others connect to an id. Its methods may be called from any goroutine.
type Listener struct {
	n   *Node
	id  cbid.ID
	cfg ListenConfig

	mu      sync.Mutex         // guards what follows; taken after that of a stream
	pending map[origin]*stream // connected, but the other end has not said that it knows
	waiting []*stream          // to be accepted
	closed  bool
	gone    chan struct{} // closed by Close
	changed chan struct{} // of one: there is something in waiting
}

// origin is the other end of a connection.
type origin struct{ port, number uint32 }

// Listen registers id, which must be free. The OpError's Err has EADDRINUSE where it is not, EACCES where
// the policy of the bus forbids it.
func (n *Node) Listen(ctx context.Context, id cbid.ID, cfg *ListenConfig) (*Listener, error) {
	l := &Listener{n: n, id: id, pending: make(map[origin]*stream), gone: make(chan struct{}), changed: make(chan struct{}, 1)}
	if cfg != nil {
		l.cfg = *cfg
	}
	if l.cfg.Backlog <= 0 {
		l.cfg.Backlog = defaultBacklog
	}
	if l.cfg.Handshake <= 0 {
		l.cfg.Handshake = defaultHandshake
	}
	if l.cfg.Name == "" {
		l.cfg.Name = "listener"
	}
	fail := func(err error) (*Listener, error) {
		return nil, &tsocket.OpError{Op: "listen on " + id.String(), Err: err}
	}
	if err := n.bus.AddCallback(ctx, id, l.cfg.Name, connector.Inline(connector.HandlerFunc(l.handle))); err != nil {
		if ctx.Err() != nil {
			return fail(endOf(ctx))
		}
		return fail(ofBus(err, ""))
	}
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.listeners[id] = l
	}
	n.mu.Unlock()
	if closed {
		_ = n.unregister(id)
		return fail(errClosed)
	}
	return l, nil
}

// ID returns the id that l listens on.
func (l *Listener) ID() cbid.ID { return l.id }

// Addr returns the address of the endpoint, without a number.
func (l *Listener) Addr() tsocket.Addr { return Addr(l.n.ep.Port(), 0) }

// handle is the callback of the id.
func (l *Listener) handle(ctx context.Context, d *connector.Delivery) {
	h, body, ok := parse(d.Msg.Data)
	if !ok || len(body) > 0 {
		l.n.count.foreign.Add(1)
		l.answer(ctx, d, h.op, answer{errno: syscall.EINVAL, text: "no message of a socket"})
		return
	}
	switch h.op {
	case opConnect:
		a := l.connect(d, h)
		l.answer(ctx, d, h.op, a)
	case opCancel:
		l.mu.Lock()
		s := l.pending[origin{d.From.Port, h.sock}]
		l.mu.Unlock()
		if s != nil {
			s.fail(&Error{Errno: syscall.ECONNRESET, Text: "the other end gave up"}, false)
		}
	default:
		l.n.count.foreign.Add(1)
		l.answer(ctx, d, h.op, answer{errno: syscall.EOPNOTSUPP, text: "this is a listener for streams"})
	}
}

func (l *Listener) answer(ctx context.Context, d *connector.Delivery, to op, a answer) {
	if d.Call {
		_ = d.Reply(ctx, a.append(nil, to)) // a caller that is gone needs none
	}
}

// connect makes the stream for who calls.
func (l *Listener) connect(d *connector.Delivery, h header) answer {
	switch {
	case !d.Call || d.From.Port == 0 || h.sock < firstStream:
		return answer{errno: syscall.EINVAL, text: "no request for a connection"}
	case h.arg != Version:
		return answer{errno: syscall.EPROTONOSUPPORT, text: fmt.Sprintf("version %d is not spoken here, but %d", h.arg, Version)}
	}
	if allow := l.cfg.Allow; allow != nil {
		if err := allow(d.From); err != nil {
			e := ofBus(err, "")
			if e.Errno == syscall.EIO {
				e.Errno = syscall.EACCES
			}
			return answer{errno: e.Errno, text: err.Error()}
		}
	}
	port, refused := l.n.where()
	if refused.errno != 0 {
		return refused
	}
	s := newStream(l.n)
	s.backlog = l
	s.in.limit = uint64(l.n.cfg.Window)
	from := origin{d.From.Port, h.sock}
	if refused := l.enter(s, from); refused.errno != 0 {
		return refused
	}
	if refused := l.admit(s, from, d.From.Cred); refused.errno != 0 {
		return refused
	}
	return answer{port: port, number: s.num, window: uint32(l.n.cfg.Window)}
}

// admit makes a stream that is in the backlog one of the node.
func (l *Listener) admit(s *stream, from origin, cred connector.Cred) answer {
	if err := l.n.add(s); err != nil {
		l.forget(s)
		return answer{errno: tsocket.Errno(err), text: err.Error()}
	}
	s.connected(from.port, from.number, cred)
	l.mu.Lock()
	closed := l.closed
	if l.pending[from] == s {
		s.greeting = time.AfterFunc(l.cfg.Handshake, s.ungreeted)
	}
	l.mu.Unlock()
	if closed { // perhaps before the stream could be found
		l.n.forget(s)
		return nobodyListens
	}
	return answer{}
}

var nobodyListens = answer{errno: syscall.ECONNREFUSED, text: "nobody listens any more"}

// ungreeted ends a stream that takes a place in the backlog, and whose other end says nothing.
func (s *stream) ungreeted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backlog != nil || s.rejectedBy != nil {
		s.failLocked(&Error{Errno: syscall.ETIMEDOUT, Text: "the other end has not said that it knows of the connection"}, false)
	}
}

// enter takes a place in the backlog.
func (l *Listener) enter(s *stream, from origin) answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nobodyListens
	case l.pending[from] != nil:
		return answer{errno: syscall.EALREADY, text: "connected already"}
	case len(l.pending)+len(l.waiting) >= l.cfg.Backlog:
		return answer{errno: syscall.ECONNREFUSED, text: fmt.Sprintf("%d connections wait to be accepted", l.cfg.Backlog)}
	}
	s.peer, s.peerNum = from.port, from.number
	l.pending[from] = s
	return answer{}
}

// ready has a stream accepted, now that the other end knows it.
func (l *Listener) ready(s *stream) {
	l.mu.Lock()
	key := origin{s.peer, s.peerNum}
	if l.pending[key] == s {
		l.drop(key, s)
		l.waiting = append(l.waiting, s)
		wake(l.changed)
	}
	l.mu.Unlock()
}

// forget takes a stream out of the backlog; one that Close has rejected waits beyond that.
func (l *Listener) forget(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := origin{s.peer, s.peerNum}
	if l.closed || l.pending[key] == s {
		l.drop(key, s)
	}
}

// drop ends the wait for the other end's word. l.mu is held.
func (l *Listener) drop(key origin, s *stream) {
	delete(l.pending, key)
	if s.greeting != nil {
		s.greeting.Stop()
	}
}

// take returns the next stream that waits, nil if there is none; false if there will be none.
func (l *Listener) take() (*stream, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false
	}
	if len(l.waiting) == 0 {
		return nil, true
	}
	s := l.waiting[0]
	l.waiting[0] = nil
	if l.waiting = l.waiting[1:]; len(l.waiting) > 0 {
		wake(l.changed) // somebody else may wait too
	}
	return s, true
}

// Accept waits for the next stream; any number of goroutines may. The OpError's Err is ErrClosed, ErrCanceled or
// ErrTimeout.
func (l *Listener) Accept(ctx context.Context) (*tsocket.Stream, error) {
	fail := func(err error) (*tsocket.Stream, error) {
		return nil, &tsocket.OpError{Op: "accept on " + l.id.String(), Err: err}
	}
	for {
		if err := ctx.Err(); err != nil {
			return fail(endOf(ctx))
		}
		s, open := l.take()
		switch {
		case s != nil:
			return tsocket.NewStream(s), nil
		case !open:
			return fail(errClosed)
		}
		select {
		case <-l.changed:
		case <-l.gone:
		case <-ctx.Done():
		}
	}
}

// AcceptSend starts an Accept.
func (l *Listener) AcceptSend(ctx context.Context) *tsocket.Request[*tsocket.Stream] {
	return tsocket.Go(ctx, "accept on "+l.id.String(), func(ctx context.Context) (*tsocket.Stream, error) {
		return unlessOver(ctx)(l.Accept(ctx))
	})
}

// Close stops listening, and resets the connections that nobody has accepted. It is idempotent.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	all := append(values(l.pending), l.waiting...)
	l.pending, l.waiting = nil, nil
	close(l.gone)
	l.mu.Unlock()
	for _, s := range all {
		s.reject(l, &Error{Errno: syscall.ECONNRESET, Text: "the listener was closed"})
	}
	l.n.mu.Lock()
	if l.n.listeners[l.id] == l {
		delete(l.n.listeners, l.id)
	}
	l.n.mu.Unlock()
	if err := l.n.unregister(l.id); err != nil {
		return &tsocket.OpError{Op: "close of " + l.id.String(), Err: ofBus(err, "")}
	}
	return nil
}

// AsNetListener returns l as a net.Listener, whose connections are made by tsocket.AsNetConn: what net/http serves
// on. Close closes l.
func AsNetListener(l *Listener) net.Listener { return netListener{l} }

type netListener struct{ l *Listener }

func (n netListener) Accept() (net.Conn, error) {
	s, err := n.l.Accept(context.Background())
	if err != nil {
		return nil, n.fail("accept", err)
	}
	return tsocket.AsNetConn(s), nil
}

func (n netListener) Close() error {
	if err := n.l.Close(); err != nil {
		return n.fail("close", err)
	}
	return nil
}

func (n netListener) Addr() net.Addr { return netAddr(n) }

func (n netListener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "bus", Addr: n.Addr(), Err: tsocket.Cause(err)}
}

// netAddr shows the id, which is where others connect to.
type netAddr struct{ l *Listener }

func (netAddr) Network() string  { return "bus" }
func (a netAddr) String() string { return a.l.id.String() }
