//go:build linux

package faults

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

const (
	cellMembers = 4
	burst       = 4000 // messages that a member lets pass unread, now and then
)

// cell is five clients: one publishes numbers to a group and calls, the other four are
// members, answer calls, and send numbers back, which are never lost.
type cell struct {
	t      testing.TB
	s      *site
	group  uint32
	echoes []cbid.ID
	ctx    context.Context
	buses  []*client.Bus
	pub    *client.Endpoint
	posted atomic.Uint64
	stop   chan struct{}
	done   sync.WaitGroup // everybody

	pause, resume chan struct{} // of the member that lets a burst pass

	mu              sync.Mutex // guards what follows
	wrong           []string
	sent, got, lost uint64 // group messages, times members
}

func newCell(s *site, n uint32) *cell {
	c := &cell{
		t: s.t, s: s, group: 0x6000 + n, ctx: context.Background(), stop: make(chan struct{}),
		pause: make(chan struct{}, 1), resume: make(chan struct{}),
	}
	c.pub = endpoint(c.t, c.bus("publisher"))
	for i := range uint32(cellMembers) {
		b := c.bus("member")
		id := cbid.Make(0x6100+n, i)
		echoes(c.t, b, id)
		c.echoes = append(c.echoes, id)
		e := member(c.t, b, c.group)
		c.done.Go(func() { c.listen(e, i == 0) })
	}
	c.done.Go(c.publish)
	c.done.Go(c.collect)
	return c
}

func (c *cell) bus(name string) *client.Bus {
	b := c.s.bus(name)
	c.buses = append(c.buses, b)
	return b
}

func (c *cell) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) < 10 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *cell) check() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(c.t, c.wrong)
}

// publish posts until the end, and calls now and then.
func (c *cell) publish() {
	n, release := uint64(0), uint64(0)
	to := connector.Dest{Group: c.group}
	defer close(c.resume)
	for running := true; running; n++ {
		select {
		case <-c.stop:
			running = false
		case <-c.pause:
			release = n + burst
		default:
		}
		if release != 0 && n >= release {
			release = 0
			c.resume <- struct{}{}
		}
		m := connector.Message{ID: c.echoes[0], Data: number(n, 300)}
		if err := c.pub.Post(c.ctx, m, to); err != nil {
			c.fault("post: %v", err)
			return
		}
		c.posted.Add(1)
		if n%256 == 0 {
			id := c.echoes[n/256%cellMembers]
			if ev, err := c.pub.Call(c.ctx, connector.Message{ID: id, Data: number(n, 20)}, toID); err != nil {
				c.fault("call: %v", err)
			} else if native.Uint64(ev.Msg.Data) != n {
				c.fault("the reply to %d is %d", n, native.Uint64(ev.Msg.Data))
			}
		}
	}
	if release != 0 {
		c.resume <- struct{}{}
	}
	to.Full = connector.FullWait
	if err := c.pub.Send(c.ctx, connector.Message{ID: c.echoes[0], Data: number(lastNumber, 8)}, to); err != nil {
		c.fault("send: %v", err)
	}
	c.mu.Lock()
	c.sent += n * cellMembers
	c.mu.Unlock()
}

// listen is a member: it accounts for the group, and sends numbers to the
// publisher. A drowsy one does not read for a burst, now and then.
func (c *cell) listen(e *client.Endpoint, drowsy bool) {
	var a account
	back := uint64(0)
	for {
		ev, err := e.Recv(c.ctx)
		if err != nil {
			c.fault("member: %v", err)
			return
		}
		if a.take(ev) {
			break
		}
		if a.got%20 != 0 || ev.Kind != connector.EventMessage {
			continue
		}
		if err := e.Post(c.ctx, connector.Message{ID: c.echoes[0], Data: number(back, 100)}, connector.Dest{Port: c.pub.Port()}); err != nil {
			c.fault("member's post: %v", err)
			return
		}
		back++
		if drowsy && back%50 == 0 {
			select {
			case c.pause <- struct{}{}:
				<-c.resume
			default:
			}
		}
	}
	if a.wrong != "" {
		c.fault("member: %s", a.wrong)
	}
	if err := e.Send(c.ctx, connector.Message{ID: c.echoes[0], Data: number(lastNumber, 8)}, connector.Dest{Port: c.pub.Port()}); err != nil {
		c.fault("member's last: %v", err)
	}
	c.mu.Lock()
	c.got += a.got
	c.lost += a.lost
	c.mu.Unlock()
}

// collect is the publisher's stream: the numbers of each member, none missing.
func (c *cell) collect() {
	from := make(map[uint32]*account)
	for over := 0; over < cellMembers; {
		ev, err := c.pub.Recv(c.ctx)
		if err != nil {
			c.fault("collect: %v", err)
			return
		}
		a := from[ev.From.Port]
		if a == nil {
			a = &account{}
			from[ev.From.Port] = a
		}
		if a.take(ev) {
			over++
		}
		if a.wrong != "" || a.lost > 0 {
			c.fault("of port %d: %v", ev.From.Port, a)
			return
		}
	}
}

// end stops the publisher and waits until everybody has accounted for all.
func (c *cell) end() {
	c.t.Helper()
	close(c.stop)
	done := make(chan struct{})
	go func() {
		c.done.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.Fail(c.t, "somebody still waits")
	}
	c.check()
}

func (c *cell) close() {
	for _, b := range c.buses {
		require.NoError(c.t, b.Close())
	}
}
