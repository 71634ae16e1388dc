package tsagent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// ClientConfig are the settings of a Client. A nil *ClientConfig and zero fields mean the defaults.
type ClientConfig struct {
	// Window is how many bytes of a socket may be on their way to its reader, or wait for it. Default 256 KiB.
	Window int

	// Host is the number of the host of the site whose sockets they are; 0: this one. It must offer them (Agent.Site), and
	// must have this host's byte order.
	Host uint32

	// Sink is an id of the bus to which the agent sends what comes, instead of the client's port: for a bus
	// within one process, where its callback runs in the agent's goroutine, which saves one goroutine's turn
	// for each message. No other may have it registered, and the agent must allow it (Config.Sinks).
	Sink cbid.ID

	// Room is an id likewise, for who has a Sink: to which the agent sends that there is room again for datagrams, from where they are sent.
	// A goroutine of the agent would have to run for that otherwise, again and again while much is sent.
	Room cbid.ID
}

// ErrDown is the error of a socket whose agent, or the bus to it, is gone. It is ECONNRESET. Another socket can be
// opened as soon as the agent is back.
var ErrDown = &Error{syscall.ECONNRESET, "the tsocket agent is gone, or the bus to it: the socket must be opened anew"}

// Client gives sockets of the agent on a bus. Its methods may be called from any goroutine; all its sockets share one
// endpoint.
type Client struct {
	bus connector.Bus
	ep  connector.Endpoint
	id  cbid.ID // of the agent
	cfg ClientConfig

	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}
	wg   sync.WaitGroup // of OPENs that were given up

	mu     sync.Mutex // guards the fields below
	closed bool
	agent  uint32          // its port; 0: not known
	life   context.Context // of that agent, and so of the sockets
	die    context.CancelFunc
	window int    // what it takes of a socket's writes
	follow func() // ends the following of it
	socks  map[uint32]client
}

// client is a socket of a Client.
type client interface {
	// event takes an event; its body is valid until it returns. It does not block.
	event(h Header, seq uint32, body []byte)
	// fail ends the socket.
	fail(err error)
}

// NewClient opens an endpoint on bus and looks for the agent. Close ends it; the bus is the caller's. The errors are those
// of the bus, ErrNoID of package connector if there is no agent.
func NewClient(ctx context.Context, bus connector.Bus, config *ClientConfig) (*Client, error) {
	c := &Client{bus: bus, socks: make(map[uint32]client), done: make(chan struct{})}
	if config != nil {
		c.cfg = *config
	}
	if c.cfg.Window <= 0 {
		c.cfg.Window = 256 << 10
	}
	c.cfg.Window = min(max(c.cfg.Window, 4<<10), 1<<29)
	c.id = SiteID(c.cfg.Host)
	var err error
	if c.ep, err = bus.Endpoint(ctx); err != nil {
		return nil, err
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if err := c.addSinks(ctx); err != nil {
		c.stop()
		_ = c.ep.Close()
		return nil, err
	}
	go c.receive()
	if _, err := c.greet(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes all sockets and the endpoint.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.down(tsocket.ErrClosed)
	c.stop()
	err := c.ep.Close()
	<-c.done
	c.wg.Wait()
	c.delSinks()
	return err
}

// greet finds out who the agent is, and follows it.
func (c *Client) greet(ctx context.Context) (port uint32, err error) {
	c.mu.Lock()
	port = c.agent
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return 0, tsocket.ErrClosed
	case port != 0:
		return port, nil
	}
	m := connector.Message{ID: c.id, Data: native.AppendUint32(Header{Op: OpHello}.Append(nil), Version)}
	ev, err := c.ep.Call(ctx, m, connector.Dest{})
	if err != nil {
		return 0, err
	}
	r, body, err := ParseReply(ev.Msg.Data)
	if err == nil {
		err = r.Err(body)
	}
	if err == nil && len(body) < 12 {
		err = &Error{syscall.EPROTO, "hello: the reply is too short"}
	}
	if err != nil {
		return 0, err
	}
	window := int(native.Uint32(body[8:]) & 0x7fffffff)
	port = ev.From.Port
	// Where the bus cannot tell, an agent that has gone is found out by the next request.
	stop, err := connector.FollowPort(ctx, c.bus, port, func() { c.lost(port) })
	if err != nil {
		stop = nil
	}
	c.mu.Lock()
	var old func()
	if c.agent == 0 && !c.closed {
		c.agent, c.window, old, c.follow = port, window, c.follow, stop
		c.life, c.die = context.WithCancel(c.ctx)
	} else {
		old = stop
	}
	c.mu.Unlock()
	if old != nil {
		old()
	}
	return port, nil
}

// lost fails the sockets of an agent that is gone.
func (c *Client) lost(port uint32) {
	c.mu.Lock()
	same := c.agent == port
	c.mu.Unlock()
	if same {
		c.down(ErrDown)
	}
}

// down fails all sockets.
func (c *Client) down(err error) {
	c.mu.Lock()
	all := c.socks
	c.socks = make(map[uint32]client)
	c.agent = 0
	if c.die != nil {
		c.die() // who waits for the bus does so for nothing: the sockets are no more when it is back
	}
	var stop func()
	if c.closed {
		stop, c.follow = c.follow, nil
	}
	c.mu.Unlock()
	for _, s := range all {
		s.fail(err)
	}
	if stop != nil {
		stop()
	}
}

// receive is the goroutine that takes events from the endpoint.
func (c *Client) receive() {
	defer close(c.done)
	for {
		ev, err := c.ep.Recv(c.ctx)
		switch {
		case err != nil:
			if c.ctx.Err() != nil || errors.Is(err, connector.ErrClosed) {
				return
			}
			c.down(ErrDown)
			if errors.Is(err, connector.ErrInterrupted) {
				return // for good: the bus does not connect again
			}
		case ev.Kind == connector.EventMessage:
			c.dispatch(&ev.Msg, ev.From.Port)
		case ev.Kind == connector.EventFailed:
			if s := c.sock(ev.Msg.Seq); s != nil && ev.Msg.ID == c.id {
				s.fail(fmt.Errorf("%w: %w", ErrDown, ev.Err))
			}
		case ev.Kind == connector.EventDown:
			c.down(ErrDown)
		}
	}
}

func (c *Client) sock(num uint32) client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.socks[num]
}

// dispatch gives an event to its socket. Whoever sends it, who is not the agent, is not heard; from is 0 for what came
// to the sink, which only this process sends to.
func (c *Client) dispatch(m *connector.Message, from uint32) {
	h, body, err := ParseHeader(m.Data)
	if err != nil || h.Op&EventBit == 0 {
		return
	}
	c.mu.Lock()
	s := c.socks[h.Sock]
	genuine := from == c.agent || from == 0
	c.mu.Unlock()
	if s != nil && genuine {
		s.event(h, m.Seq, body)
	}
}

// alive returns what ends when requests about a socket are of no use any more: the agent has gone. Those about
// none, 0, may wait for it to come back.
func (c *Client) alive(num uint32) context.Context {
	if num == 0 {
		return c.ctx
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life
}

// post sends a request that has no reply.
func (c *Client) post(num uint32, data []byte) error {
	err := c.ep.Post(c.alive(num), connector.Message{ID: c.id, Seq: num, Data: data}, connector.Dest{})
	if err != nil {
		return c.busError(err)
	}
	return nil
}

// postHeader sends a request without a body.
func (c *Client) postHeader(h Header) error {
	b := headers.Get().(*[HeaderLen]byte)
	defer headers.Put(b)
	h.Flags |= FlagNoReply
	h.put(b[:])
	return c.post(h.Sock, b[:])
}

var headers = sync.Pool{New: func() any { return new([HeaderLen]byte) }}

// busError turns a failure of the bus into one of the socket.
func (c *Client) busError(err error) error {
	switch {
	case c.ctx.Err() != nil, errors.Is(err, connector.ErrClosed):
		return tsocket.ErrClosed
	case errors.Is(err, connector.ErrPermission), errors.Is(err, connector.ErrTooBig):
		return &Error{errnoOf(err), err.Error()}
	case errors.Is(err, context.Canceled): // it ended with the agent
		return ErrDown
	}
	return fmt.Errorf("%w: %w", ErrDown, err)
}

// cancelGrace is how long the agent may take to tell what became of a request that was cancelled.
const cancelGrace = 5 * time.Second

// call sends a request and waits for its completion. When ctx ends the request is cancelled, and its outcome
// awaited all the same, lest it takes place unknown.
func (c *Client) call(ctx context.Context, h Header, body []byte) (Reply, []byte, error) {
	if err := ctx.Err(); err != nil {
		return Reply{}, nil, err
	}
	data := append(h.Append(make([]byte, 0, HeaderLen+len(body))), body...)
	return c.callData(ctx, h, data)
}

func (c *Client) callData(ctx context.Context, h Header, data []byte) (Reply, []byte, error) {
	inner := c.alive(h.Sock)
	if ctx.Done() != nil {
		limited, giveUp := context.WithCancel(inner)
		defer giveUp()
		inner = limited
		var late *time.Timer
		told := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(told)
			if h.Sock == 0 {
				giveUp()
				return
			}
			late = time.AfterFunc(cancelGrace, giveUp)
			c.cancel(limited, h)
		})
		defer func() {
			if !stop() {
				// A CANCEL that is on its way must not meet the next request: they arrive in the order in which they were sent.
				<-told
				if late != nil {
					late.Stop()
				}
			}
		}()
	}
	r, body, _, err := c.roundTrip(inner, data)
	switch {
	case err != nil && r.Op == 0 && ctx.Err() != nil, r.Errno == syscall.ECANCELED && ctx.Err() != nil:
		err = ctx.Err()
	}
	return r, body, err
}

// cancel has the agent cancel what h has asked for.
func (c *Client) cancel(ctx context.Context, h Header) {
	b := Header{Op: OpCancel, Flags: FlagAll | FlagNoReply, Sock: h.Sock, Arg: uint64(h.Op)}.Append(nil)
	_ = c.ep.Post(ctx, connector.Message{ID: c.id, Seq: h.Sock, Data: b}, connector.Dest{})
}

// roundTrip sends a request and waits for its completion, which comes from the port from. Without one the Reply is zero.
func (c *Client) roundTrip(ctx context.Context, data []byte) (r Reply, body []byte, from uint32, err error) {
	ev, err := c.ep.Call(ctx, connector.Message{ID: c.id, Data: data}, connector.Dest{})
	if err != nil {
		if errors.Is(err, connector.ErrNoID) || errors.Is(err, connector.ErrAgentGone) {
			c.mu.Lock()
			agent := c.agent
			c.mu.Unlock()
			go c.lost(agent) // who calls may be in a callback that this calls
		}
		return Reply{}, nil, 0, c.busError(err)
	}
	if r, body, err = ParseReply(ev.Msg.Data); err == nil {
		err = r.Err(body)
	}
	return r, body, ev.From.Port, err
}

// remove forgets a socket.
func (c *Client) remove(num uint32, s client) {
	c.mu.Lock()
	if c.socks[num] == s {
		delete(c.socks, num)
	}
	c.mu.Unlock()
}

// add makes the events of a socket find it. It reports false when the agent has changed since.
func (c *Client) add(num uint32, s client, agent uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.agent != agent || c.closed {
		return false
	}
	c.socks[num] = s
	return true
}

// open opens a socket of the agent: its number, and the window of what is sent.
func (c *Client) open(ctx context.Context, family, kind int, s func(num uint32, window int) client) error {
	agent, err := c.greet(ctx)
	if err != nil {
		return c.openError(ctx, err)
	}
	h := Header{Op: OpOpen, Arg: uint64(family) | uint64(kind)<<16}
	var body []byte
	if c.cfg.Sink != (cbid.ID{}) {
		for _, id := range c.sinks() {
			body = native.AppendUint32(native.AppendUint32(body, id.Idx), id.Val)
		}
	}
	o := c.callOpen(ctx, h, body)
	if errors.Is(o.err, ErrDown) || o.err == nil && o.from != agent { // it may have come back in the meantime
		c.lost(agent)
		if agent, err = c.greet(ctx); err != nil {
			o.err = err
		} else if o.err != nil {
			o = c.callOpen(ctx, h, body)
		}
	}
	if o.err != nil {
		return c.openError(ctx, o.err)
	}
	if o.from != agent || !c.add(o.sock, s(o.sock, o.window), agent) {
		c.forsake(o)
		return c.openError(ctx, ErrDown)
	}
	return nil
}

// opened is what became of an OPEN.
type opened struct {
	sock   uint32
	window int
	from   uint32 // the port of the agent
	err    error
}

// callOpen opens a socket. When ctx ends its outcome is awaited all the same, by a goroutine: a socket that nobody knows would stay
// until the client is closed.
func (c *Client) callOpen(ctx context.Context, h Header, body []byte) opened {
	data := append(h.Append(nil), body...)
	open := func() (o opened) {
		var r Reply
		r, _, o.from, o.err = c.roundTrip(c.ctx, data)
		o.sock, o.window = r.Sock, int(r.Value)
		return o
	}
	if err := ctx.Err(); err != nil {
		return opened{err: err}
	}
	if ctx.Done() == nil {
		return open()
	}
	done := make(chan opened)
	if !c.spawn(func() {
		o := open()
		select {
		case done <- o:
		case <-ctx.Done():
			c.forsake(o)
		}
	}) {
		return opened{err: tsocket.ErrClosed}
	}
	select {
	case o := <-done:
		return o
	case <-ctx.Done():
		return opened{err: ctx.Err()}
	}
}

// forsake closes a socket that nobody has.
func (c *Client) forsake(o opened) {
	if o.err == nil {
		_ = c.postHeader(Header{Op: OpClose, Sock: o.sock})
	}
}

// spawn runs f on a goroutine that Close waits for; false: the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

func (c *Client) openError(ctx context.Context, err error) error {
	var known *Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known), errors.Is(err, tsocket.ErrClosed):
		return err
	}
	return c.busError(err)
}

// disconnect has the agent end the socket behind what was written; down says that the agent does not have it any more.
func (c *Client) disconnect(ctx context.Context, num uint32, down bool, s interface {
	Close() error
	shut() bool
},
) error {
	if !down {
		_, _, err := c.call(ctx, Header{Op: OpDisconnect, Sock: num}, nil)
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			return s.Close()
		}
	}
	s.shut()
	return nil
}
