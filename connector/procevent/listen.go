package procevent

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cnbus/cnbus/connector"
)

var native = binary.NativeEndian

// probe is a request that waits for the kernel's answer.
type probe struct {
	done chan struct{} // closed when it came
	err  error
}

// randomAck chooses the number by which the answer is known: acks go to every
// listener, and their seq is overwritten by the CPU's counter.
func randomAck() uint32 { return rand.Uint32() }

// request is the datagram of a control operation, with the mask if there is to be one.
func (c *Client) request(op uint32, mask Mask, withMask bool, ack uint32) []byte {
	data := native.AppendUint32(make([]byte, 0, 8), op)
	if withMask {
		data = native.AppendUint32(data, uint32(mask))
	}
	m := connector.Message{ID: ID, Seq: ack, Ack: ack, Data: data}
	b, _ := m.AppendNative(make([]byte, 0, m.Size()), 0) // 8 bytes are not too long
	return b
}

// expect registers a request and returns its ack number.
func (c *Client) expect() (uint32, *probe) {
	p := &probe{done: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		ack := randomAck()
		if _, taken := c.pending[ack+1]; !taken {
			c.pending[ack+1] = p
			return ack, p
		}
	}
}

func (c *Client) forget(ack uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, ack+1)
}

// acked matches an answer. c.mu is held.
func (c *Client) acked(e *Event) {
	p, ok := c.pending[uint32(e.Count)]
	if !ok {
		c.stat.ForeignAcks++
		return
	}
	delete(c.pending, uint32(e.Count))
	c.stat.Acks++
	p.err = errnoOf(e.Err)
	close(p.done)
}

// await waits for the answer.
func (c *Client) await(ctx context.Context, p *probe, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.done:
		return p.err
	case <-t.C:
		return connector.ErrTimeout
	case <-c.stop:
		return connector.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask sends a request and waits for its answer.
func (c *Client) ask(ctx context.Context, op uint32, mask Mask, withMask bool, d time.Duration) error {
	ack, p := c.expect()
	defer c.forget(ack)
	if err := c.send(c.request(op, mask, withMask, ack)); err != nil {
		return err
	}
	return c.await(ctx, p, d)
}

// maskWait is how long the answer to the first request with a mask is waited
// for. The kernel answers before sendto returns, so that only an old one,
// which ignores requests of 8 bytes, or a very busy machine costs this time.
const maskWait = 250 * time.Millisecond

// listen subscribes. The first request has 4 bytes, for every kernel, and is
// answered; then the mask 0, everything, which is answered where masks are known; then,
// if it is another, the mask wanted: from then on no answer would pass it.
func (c *Client) listen(ctx context.Context) error {
	c.setListened(true)
	err := c.ask(ctx, opListen, 0, false, c.cfg.AckTimeout)
	switch {
	case errors.Is(err, connector.ErrNoPort):
		c.setListened(false)
		return errors.Join(ErrNoKernel, err)
	case err != nil && !errors.Is(err, connector.ErrTimeout):
		return err
	}
	switch merr := c.ask(ctx, opListen, 0, true, min(maskWait, c.cfg.AckTimeout)); {
	case merr == nil:
		c.setModern()
	case !errors.Is(merr, connector.ErrTimeout):
		return merr
	case err != nil:
		// Neither was answered; the answers may have met a full buffer.
		if err := c.ask(ctx, opNothing, 0, false, c.cfg.AckTimeout); !errors.Is(err, errNothing) {
			return errors.Join(ErrSilent, err)
		}
	}
	if c.cfg.Probe > 0 {
		// The first numbers of the CPUs, so that a loss of what comes first is seen too.
		if err := c.probeAll(ctx); err != nil && !errors.Is(err, connector.ErrTimeout) {
			return err
		}
		return nil
	}
	return c.applyMask()
}

func (c *Client) setListened(v bool) {
	c.mu.Lock()
	c.listened = v
	c.mu.Unlock()
}

func (c *Client) setModern() {
	c.mu.Lock()
	c.modern = true
	c.mu.Unlock()
}

// applyMask gives the kernel the mask, where there is one and it knows masks. Else
// the counters of the CPUs are as good as without one.
func (c *Client) applyMask() error {
	c.mu.Lock()
	on := c.modern && !c.cfg.Kinds.all()
	c.acct.mask(on)
	c.mu.Unlock()
	if !on {
		return nil
	}
	return c.send(c.request(opListen, c.cfg.Kinds.normal(), true, randomAck()))
}

// hold takes the right to send requests; false when the client is closed.
func (c *Client) hold() bool {
	select {
	case <-c.stop:
		return false
	default:
	}
	select {
	case <-c.stop:
		return false
	case c.ctl <- struct{}{}:
		return true
	}
}

func (c *Client) send(b []byte) error {
	if !c.hold() {
		return connector.ErrClosed
	}
	defer func() { <-c.ctl }()
	return c.link.Send(b)
}
