package natsbridge

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// dialer connects to NATS in place of its client. It puts a natsConn between the client and the server, and knows whether the
// connection can be written to without waiting for anything: while the client connects it holds a lock that whoever publishes
// needs too.
type dialer struct {
	under  nats.CustomDialer          // of TCP
	inside nats.InProcessConnProvider // if the server is in this process
	before func()                     // called by the client's reader before it waits

	conn    atomic.Pointer[natsConn] // the last one
	dials   atomic.Uint64            // how many there were
	up      atomic.Uint64            // the last one of which the client has said that it is connected; see isUp
	publish atomic.Bool              // enter was called, and leave not yet
}

// errBusy: somebody publishes, who would wait for this dial. NATS's client tries again soon.
var errBusy = errors.New("the last connection is still being written to")

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.dial(func() (net.Conn, error) { return d.under.Dial(network, address) })
}

// InProcessConn is Dial for a server in this process.
func (d *dialer) InProcessConn() (net.Conn, error) { return d.dial(d.inside.InProcessConn) }

func (d *dialer) dial(connect func() (net.Conn, error)) (net.Conn, error) {
	d.dials.Add(1)
	if d.publish.Load() {
		return nil, errBusy
	}
	under, err := connect()
	if err != nil {
		return nil, err
	}
	c := newNATSConn(under, d.before)
	d.conn.Store(c)
	return c, nil
}

// option has NATS's client connect by d, and d by what was asked for before.
func (d *dialer) option(o *nats.Options) error {
	if o.InProcessServer != nil {
		d.inside, o.InProcessServer = o.InProcessServer, d
	}
	switch {
	case o.CustomDialer != nil:
		d.under = o.CustomDialer
	case o.Dialer != nil:
		d.under = o.Dialer
	default:
		under := &net.Dialer{Timeout: o.Timeout}
		if o.AllowMultipathTCP != nil {
			under.SetMultipathTCP(*o.AllowMultipathTCP)
		}
		d.under = under
	}
	o.CustomDialer = d
	o.SkipHostLookup = true // it is done before the dial, with the lock held
	return nil
}

// SkipTLSHandshake is false unless the dialer below does TLS itself.
func (d *dialer) SkipTLSHandshake() bool {
	s, ok := d.under.(interface{ SkipTLSHandshake() bool })
	return ok && s.SkipTLSHandshake()
}

// connected is to be called with whether the client says so, after it has connected.
func (d *dialer) connected(is func() bool) {
	n := d.dials.Load()
	if is() {
		d.up.Store(n) // the dial, or one before it, has succeeded
	}
}

// enter reports whether to publish waits for nothing; then leave must follow. A dial that begins in between fails.
func (d *dialer) enter() bool {
	d.publish.Store(true)
	if up := d.up.Load(); up != 0 && up == d.dials.Load() && d.waiting() <= keepMost {
		return true
	}
	d.publish.Store(false)
	return false
}

func (d *dialer) leave() { d.publish.Store(false) }

// waiting is how many bytes the connection has not taken yet.
func (d *dialer) waiting() int {
	if c := d.conn.Load(); c != nil {
		return int(c.waits.Load())
	}
	return 0
}

// room waits until most of what the connection was given is gone, or it has broken: a ping and the renewal of a lease that came behind all
// that waits for a slow network would be late.
func (d *dialer) room() {
	c := d.conn.Load()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.waits.Load() > keepMost {
		c.less.Wait()
	}
}

// keepMost is how much a connection may have to write before more waits elsewhere, and how much memory is kept for it.
const keepMost = 1 << 20

// natsConn is a connection to NATS whose Write does not wait. What does not fit is kept, and written by a goroutine that there is
// while something is. A server that takes nothing is found out by NATS's client, which pings it.
type natsConn struct {
	net.Conn
	before func()

	waits atomic.Int64 // bytes kept

	mu      sync.Mutex      // guards what follows
	raw     syscall.RawConn // nil: it cannot be asked to take what fits
	try     func(fd uintptr) bool
	b       []byte // of try
	n       int
	err     error // of a write; further ones are dropped
	kept    []byte
	writing bool // there is a goroutine
	less    sync.Cond
}

func newNATSConn(under net.Conn, before func()) *natsConn {
	c := &natsConn{Conn: under, before: before}
	c.less.L = &c.mu
	if s, ok := under.(*net.TCPConn); ok && canTry { // nothing that embeds one: it may do more than write
		if raw, err := s.SyscallConn(); err == nil {
			c.raw, c.try = raw, c.tryFD
		}
	}
	return c
}

// Read reads, once what the last one has brought is on its way to the broker.
func (c *natsConn) Read(b []byte) (int, error) {
	c.before()
	return c.Conn.Read(b)
}

// Write takes all of b. If the connection has broken it says nothing of that: the reader finds out, after what the server has said last,
// which may be why.
func (c *natsConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b) == 0 || c.err != nil {
		return len(b), nil
	}
	rest := b
	if !c.writing && c.raw != nil {
		c.b, c.n = b, 0
		err := c.raw.Write(c.try)
		c.b = nil
		if c.err == nil {
			c.err = err
		}
		if c.err != nil {
			return len(b), nil
		}
		rest = b[c.n:]
	}
	if len(rest) == 0 {
		return len(b), nil
	}
	c.kept = append(c.kept, rest...)
	c.waits.Add(int64(len(rest)))
	if !c.writing {
		c.writing = true
		go c.write()
	}
	return len(b), nil
}

// write writes what is kept until nothing is.
func (c *natsConn) write() {
	var b []byte
	for {
		c.mu.Lock()
		if len(c.kept) == 0 || c.err != nil {
			c.writing = false
			c.mu.Unlock()
			return
		}
		b, c.kept = c.kept, b[:0]
		c.mu.Unlock()
		_, err := c.Conn.Write(b)
		c.mu.Lock()
		c.waits.Add(-int64(len(b)))
		if err != nil {
			c.err = err
			c.waits.Add(-int64(len(c.kept)))
			c.kept = nil
		}
		c.less.Broadcast()
		c.mu.Unlock()
		if cap(b) > keepMost {
			b = nil
		}
	}
}

// SetDeadline sets that for reading.
func (c *natsConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a Write does not wait.
func (c *natsConn) SetWriteDeadline(time.Time) error { return nil }
