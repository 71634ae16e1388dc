package rxclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// Config says how a Conn works. nil, and zero values, mean the defaults.
type Config struct {
	// Patience is how long an Endpoint that has lost the agent waits between attempts to find it again; default 100 ms at
	// first, growing to 2 s.
	Patience time.Duration

	// Host is the number of the host of the site whose agent makes the calls and has the ports; 0: this one. It must offer that
	// (rxagent.Agent.Site), and must have this host's byte order.
	Host uint32
}

// A Conn is a port on a bus through which the RxRPC agent is used. Sockets, and endpoints of clients and servers, that it has made
// work as those of package rxrpc do; they belong to the port, and are gone with it.
//
// All methods may be called from any goroutine. One goroutine reads what comes and hands it on to whom it is for; it waits for nobody: the
// windows of calls bound what it keeps.
type Conn struct {
	bus    connector.Bus
	ep     connector.Endpoint
	corker connector.Corker // ep, if it is one
	id     cbid.ID          // of the agent
	cfg    Config

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}  // the reader has ended
	wg     sync.WaitGroup // sockets that are closed because they are of no use here
	fresh  []*engine      // of the reader: that have noted something

	// mu guards what follows.
	mu     sync.Mutex
	hello  rxmsg.Hello
	socks  map[uint32]*port
	owners map[owner]struct{} // that Close has to end
	agent  uint32             // its port, which is followed; 0: none is
	follow func()             // ends that
	closed bool
}

// An owner is a Socket or an engine: something that lives on a Conn.
type owner interface{ shutdown() }

// A sink takes in what the agent tells a socket. The reader calls it: it must not block.
type sink interface {
	event(h rxmsg.Header, body []byte)
	lost(err error) // the socket is no more; nothing comes after it
}

// A port is a socket of the agent as the reader knows it.
type port struct {
	sink  sink
	agent uint32 // the agent's port: nobody else tells events
	seq   uint32 // of the last event
}

// Dial opens a port on a bus and asks the agent what it can. The bus stays the caller's. Errors: those of the bus, connector.ErrNoID if there is
// no agent; EPROTONOSUPPORT for an agent of another version.
func Dial(ctx context.Context, bus connector.Bus, cfg *Config) (*Conn, error) {
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("rxrpc over the bus: %w", err)
	}
	c := &Conn{bus: bus, ep: ep, done: make(chan struct{}), socks: make(map[uint32]*port), owners: make(map[owner]struct{})}
	c.corker, _ = ep.(connector.Corker)
	if cfg != nil {
		c.cfg = *cfg
	}
	if c.cfg.Patience <= 0 {
		c.cfg.Patience = 100 * time.Millisecond
	}
	c.id = rxmsg.SiteID(c.cfg.Host)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.read()
	if _, err := c.greet(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// greet asks the agent for its limits, which are kept.
func (c *Conn) greet(ctx context.Context) (rxmsg.Hello, error) {
	hello := rxmsg.Header{Op: rxmsg.OpHello}
	ev, err := c.request(ctx, rxmsg.AppendU32(hello.Append(nil), rxmsg.Version))
	if err != nil {
		return rxmsg.Hello{}, err
	}
	_, body, err := completion(ev)
	if err != nil {
		return rxmsg.Hello{}, err
	}
	h, err := rxmsg.ParseHello(body)
	switch {
	case err != nil:
		return h, err
	case h.Version != rxmsg.Version:
		return h, &rxmsg.Error{Op: rxmsg.OpHello, Errno: errnoVersion, Text: fmt.Sprintf("version %d", h.Version)}
	}
	c.followAgent(ctx, ev.From.Port)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello = h
	return h, nil
}

// followAgent has the sockets lost when the agent at that port is gone. Where the bus cannot tell, the next request does.
func (c *Conn) followAgent(ctx context.Context, port uint32) {
	c.mu.Lock()
	known := c.agent == port || c.closed
	if !known {
		c.agent = port
	}
	c.mu.Unlock()
	if known {
		return
	}
	stop, err := connector.FollowPort(ctx, c.bus, port, func() { c.agentGone(port) })
	c.mu.Lock()
	switch {
	case err != nil:
		if c.agent == port && ctx.Err() != nil {
			c.agent = 0 // the next one tries again
		}
	case !c.closed:
		stop, c.follow = c.follow, stop
	}
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// agentGone is called when the agent at that port is.
func (c *Conn) agentGone(port uint32) {
	c.mu.Lock()
	same := c.agent == port
	if same {
		c.agent = 0
	}
	c.mu.Unlock()
	if same {
		c.loseAll(&downError{connector.ErrAgentGone}, false)
	}
}

// limits returns what the agent has said last.
func (c *Conn) limits() rxmsg.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Port returns the port id; after the bus had to reconnect it may be another.
func (c *Conn) Port() uint32 { return c.ep.Port() }

// Close closes the sockets and endpoints of the port, and the port. It is idempotent.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.done
		return nil
	}
	c.closed = true
	owners := c.owners
	c.owners = nil
	stop := c.follow
	c.follow, c.agent = nil, 0
	c.mu.Unlock()
	for o := range owners {
		o.shutdown()
	}
	if stop != nil {
		stop()
	}
	c.cancel()
	err := c.ep.Close()
	<-c.done
	c.wg.Wait()
	return err
}

// own has o ended with the port; false if that is closed.
func (c *Conn) own(o owner) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.owners[o] = struct{}{}
	return true
}

func (c *Conn) disown(o owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.owners, o)
}

// request sends a request and returns its completion as it is.
func (c *Conn) request(ctx context.Context, data []byte) (connector.Event, error) {
	ev, err := c.ep.Call(ctx, connector.Message{ID: c.id, Data: data}, connector.Dest{})
	if err != nil {
		return ev, c.busError(err)
	}
	return ev, nil
}

// call makes a request and returns its completion: an *rxmsg.Error if the agent refuses.
func (c *Conn) call(ctx context.Context, h rxmsg.Header, body []byte) (rxmsg.Reply, []byte, error) {
	ev, err := c.request(ctx, append(h.Append(make([]byte, 0, rxmsg.HeaderSize+len(body))), body...))
	if err != nil {
		return rxmsg.Reply{}, nil, err
	}
	return completion(ev)
}

func completion(ev connector.Event) (rxmsg.Reply, []byte, error) {
	r, b, err := rxmsg.ParseReply(ev.Msg.Data)
	if err == nil {
		err = r.Err(b)
	}
	return r, b, err
}

// post sends a request that wants no completion. What it is of the message's seq says, for EventFailed.
func (c *Conn) post(ctx context.Context, sock uint32, data []byte) error {
	return c.ep.Post(ctx, connector.Message{ID: c.id, Seq: sock, Data: data}, connector.Dest{})
}

// postMore is post for who posts another right after it, or calls flush.
func (c *Conn) postMore(ctx context.Context, sock uint32, data []byte) error {
	if c.corker == nil {
		return c.post(ctx, sock, data)
	}
	return c.corker.PostMore(ctx, connector.Message{ID: c.id, Seq: sock, Data: data}, connector.Dest{})
}

func (c *Conn) flush() {
	if c.corker != nil {
		c.corker.Flush()
	}
}

// open opens a socket of the agent, whose events s takes in.
func (c *Conn) open(ctx context.Context, family int, cfg rxmsg.Socket, s sink) (uint32, error) {
	h := rxmsg.Header{Op: rxmsg.OpSocket, Arg: uint64(family)}
	ev, err := c.request(ctx, cfg.Append(h.Append(nil)))
	if err != nil {
		return 0, err
	}
	r, _, err := completion(ev)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socks[r.Sock] = &port{sink: s, agent: ev.From.Port}
	return r.Sock, nil
}

// discard closes a socket of the agent that is lost here, although the agent may still have it: with its port and its services, which whatever comes in its
// place needs. Nobody waits for that.
func (c *Conn) discard(sock uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return // the port goes, and all that it has
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, closeWait)
		defer cancel()
		_, _, _ = c.call(ctx, rxmsg.Header{Op: rxmsg.OpClose, Sock: sock}, nil)
	})
}

// forget ends the events of a socket.
func (c *Conn) forget(sock uint32, s sink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.socks[sock]; p != nil && p.sink == s {
		delete(c.socks, sock)
	}
}

// read is the reader.
func (c *Conn) read() {
	defer close(c.done)
	for {
		ev, err := c.ep.Recv(c.ctx)
		if err != nil {
			if c.ctx.Err() == nil {
				err = c.busError(err)
			}
			c.loseAll(err, false)
			return
		}
		for ok, n := true, 0; ok; n++ {
			c.handle(&ev)
			if ok = n < together; ok {
				ev, ok = connector.TryRecv(c.ep)
			}
		}
		for _, e := range c.fresh {
			e.ring()
		}
		clear(c.fresh)
		c.fresh = c.fresh[:0]
	}
}

// together is how many events that have come together are handled together at most.
const together = 128

// handle does what an event says.
func (c *Conn) handle(ev *connector.Event) {
	switch ev.Kind {
	case connector.EventMessage:
		if ev.Msg.ID == cbid.RxRPC {
			c.deliver(&ev.Msg, ev.From.Port)
		}
	case connector.EventFailed: // of a post, which was of the socket of that number
		if ev.Msg.ID == c.id {
			c.lose(ev.Msg.Seq, c.busError(ev.Err), true)
		}
	case connector.EventLost:
		if ev.From.Group == 0 {
			c.loseAll(fmt.Errorf("%d events of the agent were lost: %w", ev.Lost, ErrDown), true)
		}
	case connector.EventDown:
		c.loseAll(c.busError(ev.Err), false) // the port is gone, and what it had
	}
}

// deliver hands an event to its socket.
func (c *Conn) deliver(m *connector.Message, from uint32) {
	h, body, err := rxmsg.ParseHeader(m.Data)
	if err != nil || !h.Op.Event() {
		return // a completion that nobody waits for any more
	}
	c.mu.Lock()
	p := c.socks[h.Sock]
	gap := false
	if p != nil && p.agent != from {
		p = nil
	}
	if p != nil {
		gap = m.Seq != p.seq+1
		p.seq = m.Seq
	}
	c.mu.Unlock()
	switch {
	case p == nil:
	case gap:
		c.lose(h.Sock, fmt.Errorf("an event of the agent is missing: %w", ErrDown), true)
	case h.Op == rxmsg.EventClosed:
		err := error(ErrDown)
		if f, e := rxmsg.ParseFailure(body); e == nil {
			err = fmt.Errorf("%w: %w", f.Err(h), ErrDown)
		}
		c.lose(h.Sock, err, false)
	default:
		p.sink.event(h, body)
	}
}

// lose tells a socket that it is no more; the agent too, if it may not know.
func (c *Conn) lose(sock uint32, err error, discard bool) {
	c.mu.Lock()
	p := c.socks[sock]
	delete(c.socks, sock)
	c.mu.Unlock()
	if p == nil {
		return
	}
	if discard {
		c.discard(sock)
	}
	p.sink.lost(err)
}

// loseAll tells all.
func (c *Conn) loseAll(err error, discard bool) {
	c.mu.Lock()
	socks := c.socks
	c.socks = make(map[uint32]*port)
	c.mu.Unlock()
	for sock, p := range socks {
		if discard {
			c.discard(sock)
		}
		p.sink.lost(err)
	}
}

// busError tells what the bus says as what it means: ErrDown if the way to the agent is gone.
func (c *Conn) busError(err error) error {
	switch {
	case c.ctx.Err() != nil || errors.Is(err, connector.ErrClosed):
		return rxrpc.ErrClosed
	case errors.Is(err, connector.ErrInterrupted), errors.Is(err, connector.ErrAgentGone), errors.Is(err, connector.ErrNoID),
		errors.Is(err, connector.ErrShutdown), errors.Is(err, connector.ErrNoPort):
		return &downError{err}
	}
	return err
}
