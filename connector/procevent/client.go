package procevent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/nlconn"
)

// ErrSilent is why Dial fails when the kernel takes the request and does not
// answer: it serves only processes of the initial user and pid namespaces.
var ErrSilent = errors.New("the kernel does not answer: is this process in the initial user and pid namespaces?")

// ErrNoKernel is why Dial fails in a network namespace without the kernel's
// connector. It comes with ECONNREFUSED (connector.ErrNoPort).
var ErrNoKernel = errors.New("no process events in this network namespace: the kernel has them only in the initial one")

// Client is a subscription to the kernel's process events. Recv has one
// caller at a time; the other methods may be called from any goroutine.
type Client struct {
	cfg    Config
	link   link
	q      *queue
	enrich *enricher

	mu      sync.Mutex // guards what follows; held for a batch, never during I/O
	acct    account
	stat    Ledger // the plain counters of it
	pending map[uint32]*probe
	modern  bool // masks are known: LISTEN may be repeated

	// These belong to the reader.
	batch []Event
	owing bool // an overrun whose loss is not yet counted
	left  int  // datagrams at most before the place of that loss

	settled  chan struct{} // capacity 1: an overrun was counted, probe
	ctl      chan struct{} // capacity 1: held while requests are sent, and for good by Close
	stop     chan struct{}
	closing  sync.Once
	listened bool
	wg       sync.WaitGroup
}

// Dial subscribes to the kernel's process events. A nil cfg is the zero Config. ctx bounds the dialling only.
//
// It fails with ErrNoKernel in another network namespace than the initial one, with ErrSilent in
// another user or pid namespace, with an error that wraps connector.ErrPermission (EPERM) where
// the kernel wants CAP_NET_ADMIN (before 6.2).
func Dial(ctx context.Context, cfg *Config) (*Client, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := dialLink(&c)
	if err != nil {
		return nil, err
	}
	return newClient(ctx, c, l)
}

// newClient owns l, also when it fails.
func newClient(ctx context.Context, cfg Config, l link) (*Client, error) {
	c := &Client{
		cfg:     cfg,
		link:    l,
		q:       newQueue(cfg.Queue),
		pending: make(map[uint32]*probe),
		settled: make(chan struct{}, 1),
		ctl:     make(chan struct{}, 1),
		stop:    make(chan struct{}),
	}
	c.acct.masked = !cfg.Kinds.all()
	c.stat.ReadBuffer, _ = l.ReadBuffer()
	if cfg.Enrich != 0 {
		c.enrich = newEnricher(cfg.Enrich)
	}
	c.wg.Go(c.read)
	if err := c.listen(ctx); err != nil {
		c.Close()
		return nil, &connector.OpError{Op: "listen", ID: ID, HasID: true, Err: err}
	}
	if cfg.Probe > 0 {
		c.wg.Go(c.watch)
	}
	return c, nil
}

// Recv returns the next event. An event of kind Lost stands where others are
// missing; the stream goes on after it. It returns ctx's error, and an error that wraps connector.ErrClosed after Close.
func (c *Client) Recv(ctx context.Context) (Event, error) {
	e, err := c.q.pop(ctx)
	if err != nil {
		return Event{}, err
	}
	if c.enrich != nil {
		c.enrich.add(e)
	}
	return *e, nil
}

// Ledger returns the account of now.
func (c *Client) Ledger() Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.stat
	c.acct.fill(&l)
	return l
}

// EnrichStats tells how the lookups in /proc went; all zero without Config.Enrich.
func (c *Client) EnrichStats() EnrichStats {
	if c.enrich == nil {
		return EnrichStats{}
	}
	return c.enrich.stats()
}

// Close takes the subscription back (IGNORE), without which the kernel would go on producing
// events for nobody until it is booted again, and ends the client. See
// CloseOnSignal for programs that may be ended by a signal.
func (c *Client) Close() error {
	var err error
	c.closing.Do(func() {
		close(c.stop)
		c.ctl <- struct{}{} // no probe may say LISTEN after our IGNORE
		c.mu.Lock()
		listened := c.listened
		c.mu.Unlock()
		if listened {
			err = c.link.Send(c.request(opIgnore, 0, false, randomAck()))
		}
		c.q.close()
		err = errors.Join(err, c.link.Close())
	})
	c.wg.Wait()
	if c.enrich != nil {
		c.enrich.close()
	}
	return err
}

// read is the reader: it owns the socket and never waits for anything but it
// and, when Recv is not called, the queue.
func (c *Client) read() {
	dgrams := make([]nlconn.Datagram, c.link.Batch())
	for {
		n, err := c.link.Receive(dgrams)
		c.batch = c.batch[:0]
		switch {
		case errors.Is(err, nlconn.ErrOverrun):
			c.overrun()
		case err != nil:
			if errors.Is(err, connector.ErrClosed) {
				err = &connector.OpError{Op: "receive", ID: ID, HasID: true, Err: connector.ErrClosed}
			}
			c.q.fail(err)
			return
		default:
			c.mu.Lock()
			for i := range n {
				c.accept(&dgrams[i])
			}
			c.mu.Unlock()
			c.left -= n
		}
		if c.owing {
			c.count(n == len(dgrams) || err != nil)
		}
		if !c.q.push(c.batch) {
			return
		}
	}
}

// overrun notes that messages were dropped behind those that are queued now.
func (c *Client) overrun() {
	c.owing = true
	if m, err := c.link.MemInfo(); err == nil {
		c.left = int(m.Queued)/minTruesize + 1
	}
	buf := c.grow()
	c.mu.Lock()
	c.stat.Overruns++
	if buf > 0 {
		c.stat.ReadBuffer = buf
	}
	c.mu.Unlock()
}

// minTruesize is less than what any datagram takes of the receive buffer.
const minTruesize = 256

// count puts the loss into the stream when what was queued before it has
// been read. more is set when the queue may not be empty.
func (c *Client) count(more bool) {
	m, err := c.link.MemInfo()
	if err != nil || more && m.Queued > 0 && c.left > 0 {
		return
	}
	c.owing = false
	c.mu.Lock()
	c.lose(c.acct.dropped(m.Drops))
	c.mu.Unlock()
	wake(c.settled)
}

// lose appends a Lost. c.mu is held.
func (c *Client) lose(n uint64) {
	if n > 0 {
		c.stat.Audited = false
		c.batch = append(c.batch, Event{Kind: Lost, Count: n, Exact: true})
	}
}

// grow doubles the kernel's buffer up to the configured size and returns what
// it is then, 0 for unknown.
func (c *Client) grow() int {
	now, err := c.link.ReadBuffer()
	if err != nil || now >= c.cfg.MaxReadBuffer {
		return now
	}
	// The kernel doubles what it is asked for; without privilege it stops
	// at its limit, which is read back.
	grown, err := c.link.SetReadBuffer(min(now, c.cfg.MaxReadBuffer/2))
	if err != nil {
		return now
	}
	return grown
}

// accept takes one datagram. c.mu is held.
func (c *Client) accept(d *nlconn.Datagram) {
	// nl_pid of the source is the kernel's word; what the message says of itself is not.
	if d.Port != 0 || d.HasCred && (d.Cred.PID != 0 || d.Cred.UID != 0) {
		c.stat.Forged++
		return
	}
	var e Event
	if err := e.decode(d.Data); err != nil {
		c.stat.Malformed++
		return
	}
	c.stat.Received++
	c.lose(c.acct.event(e.CPU, e.Seq))
	switch {
	case e.Kind == Ack:
		c.acked(&e)
	case !c.cfg.Kinds.Has(&e):
		c.stat.Filtered++
	default:
		c.stat.Delivered++
		c.batch = append(c.batch, e)
	}
}

// decode reads the netlink bytes of one event. The ack number of an answer is kept in Count until it is matched.
func (e *Event) decode(b []byte) error {
	_, payload, _, err := connector.ParseFrame(b, native)
	if err != nil {
		return err
	}
	m, _, err := connector.ParseCnMsg(payload, native)
	if err != nil {
		return err
	}
	if m.ID != ID {
		return fmt.Errorf("message %v in the group of process events: %w", m.ID, connector.ErrProtocol)
	}
	if err := e.parse(m.Data, native); err != nil {
		return err
	}
	e.Seq = m.Seq
	if e.Kind == Ack {
		e.Count = uint64(m.Ack)
	}
	return nil
}

func errnoOf(code uint32) error {
	if code == 0 {
		return nil
	}
	e := syscall.Errno(code)
	if e == syscall.EPERM {
		return fmt.Errorf("%w: this kernel wants CAP_NET_ADMIN: %w", connector.ErrPermission, e)
	}
	return e
}
