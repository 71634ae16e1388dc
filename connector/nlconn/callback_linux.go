package nlconn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// callbackBatch is small: a bus may have many callbacks.
const callbackBatch = 4

// callback is a registered id: a socket with the id's port, and the goroutine that reads it. The
// messages wait in the kernel, and a full socket makes its senders wait.
type callback struct {
	b    *Bus
	s    *Socket
	out  *sender
	id   cbid.ID
	name string
	h    connector.Handler
	ctx  context.Context
	done chan struct{}

	finished atomic.Bool // to end when the socket is empty

	dgrams []Datagram // of the goroutine
	n, at  int
}

type callbackKey struct{}

func newCallback(b *Bus, s *Socket, id cbid.ID, name string, h connector.Handler) *callback {
	c := &callback{b: b, s: s, id: id, name: name, h: h, done: make(chan struct{}), dgrams: make([]Datagram, callbackBatch)}
	c.out = newSender(b, s)
	c.ctx = context.WithValue(b.ctx, callbackKey{}, c)
	return c
}

func (c *callback) within(ctx context.Context) bool { return ctx.Value(callbackKey{}) == any(c) }

// finish has the goroutine handle what is queued now and end. The deadline wakes it.
func (c *callback) finish() {
	c.finished.Store(true)
	if c.s.SetReadDeadline(time.Unix(1, 0)) != nil {
		c.s.Close() // closed already: the bus is closing
	}
}

// run reads and handles until the socket is closed or finished. A handler that ends its
// goroutine (runtime.Goexit) is followed by another.
func (c *callback) run(first bool) {
	ended := false
	defer func() {
		if !ended {
			go c.run(false)
			return
		}
		c.s.Close()
		close(c.done)
	}()
	if h, ok := c.h.(connector.InterestHandler); ok && first {
		c.contain(func() { h.Interest(c.ctx, c.id.Idx, true) })
	}
	for c.more() {
		for c.at < c.n {
			d := &c.dgrams[c.at]
			c.at++
			c.handle(d)
		}
	}
	ended = true
}

// more receives the next messages; false when it is over.
func (c *callback) more() bool {
	for c.b.ctx.Err() == nil {
		if c.finished.Load() {
			// The poller refuses to read once the deadline is over: ask whether there is
			// anything, and then read that with a later deadline.
			m, err := c.s.MemInfo()
			if err != nil || m.Queued == 0 || c.s.SetReadDeadline(time.Now().Add(time.Minute)) != nil {
				return false
			}
		}
		n, err := c.s.Receive(c.dgrams)
		switch {
		case err == nil:
			c.n, c.at = n, 0
			return true
		case errors.Is(err, ErrOverrun):
			// Not by unicast; memory was short for a moment.
		case errors.Is(err, os.ErrDeadlineExceeded):
			// finished is set.
		default:
			return false
		}
	}
	return false
}

func (c *callback) handle(d *Datagram) {
	m, call, err := parseFrame(d.Data)
	if err != nil || d.Truncated || m.ID != c.id {
		return // as the kernel does
	}
	del := connector.Delivery{
		Msg: m, From: connector.From{Port: d.Port, Group: d.Group, Cred: d.Cred}, Call: call, Via: c,
	}
	c.contain(func() { c.h.Handle(c.ctx, &del) })
}

// contain keeps a panic from the rest of the process.
func (c *callback) contain(f func()) {
	defer func() {
		if v := recover(); v != nil {
			c.b.cfg.Log.Error("panic in a callback", "id", c.id, "name", c.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// Reply implements connector.Replier: from the id's port, without waiting.
func (c *callback) Reply(ctx context.Context, d *connector.Delivery, data []byte) error {
	m := connector.Message{ID: d.Msg.ID, Seq: d.Msg.Seq, Ack: d.Msg.Ack + 1, Data: data}
	err := c.out.try(context.WithoutCancel(ctx), &m, connector.Dest{Port: d.From.Port, Full: connector.FullDrop}, false)
	if err != nil {
		return &connector.OpError{Op: "reply", ID: m.ID, HasID: true, Port: d.From.Port, Err: cause(err)}
	}
	return nil
}
