package procevent

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// opNothing is no operation. The kernel answers it with EINVAL and counts no
// listener, but a kernel that knows masks then takes the next LISTEN of the
// socket for its first and counts that.
const opNothing = 9

var errNothing error = syscall.EINVAL

// probeAll makes the kernel answer on each CPU that this process may run on. The
// answer carries the CPU's counter: what is missing before it, at the end of
// what was received, becomes a gap with a number.
func (c *Client) probeAll(ctx context.Context) error {
	c.mu.Lock()
	modern := c.modern
	c.mu.Unlock()
	op, nothing := uint32(opListen), error(nil)
	if !modern {
		op, nothing = opNothing, errNothing // a repeated LISTEN would count
	}
	var acks []uint32
	var probes []*probe
	if !c.hold() {
		return connector.ErrClosed
	}
	err := c.link.SendOn(func(int) []byte {
		ack, p := c.expect()
		acks, probes = append(acks, ack), append(probes, p)
		return c.request(op, 0, false, ack)
	})
	<-c.ctl
	if merr := c.applyMask(); err == nil {
		err = merr
	}
	for i, p := range probes {
		if err == nil {
			if perr := c.await(ctx, p, c.cfg.AckTimeout); !errors.Is(perr, nothing) {
				err = perr
			}
		}
		c.forget(acks[i])
	}
	if err == nil {
		c.mu.Lock()
		c.stat.Audited = true
		c.mu.Unlock()
	}
	return err
}

// Audit probes each CPU and returns the account, in which losses at the end
// of what was received are then counted too. Recv must be going on, or what is
// queued be less than Config.Queue: the answers come behind it. It fails with an error
// that wraps connector.ErrTimeout when the kernel did not answer.
func (c *Client) Audit(ctx context.Context) (Ledger, error) {
	err := c.probeAll(ctx)
	if err != nil {
		err = &connector.OpError{Op: "audit", ID: ID, HasID: true, Err: err}
	}
	return c.Ledger(), err
}

// watch probes after each overrun and from time to time.
func (c *Client) watch() {
	ctx := context.Background() // what waits in here ends with c.stop
	t := time.NewTicker(c.cfg.Probe)
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-c.settled:
		case <-t.C:
		}
		if c.busy() {
			continue
		}
		drops := c.dropsNow()
		err := c.probeAll(ctx)
		if errors.Is(err, connector.ErrTimeout) && !c.busy() && c.dropsNow() == drops {
			c.revive(ctx)
		}
	}
}

// busy reports whether a probe would tell nothing: its answer would wait
// behind what is queued, or be dropped and counted as a loss itself.
func (c *Client) busy() bool {
	m, err := c.link.MemInfo()
	return err != nil || c.q.full() || m.Queued > m.Buffer/4
}

func (c *Client) dropsNow() uint32 {
	m, err := c.link.MemInfo()
	if err != nil {
		return 0
	}
	return m.Drops
}

// maxRevive bounds how often in a row the count of listeners is raised.
const maxRevive = 8

// revive is called when a probe stays without answer: anybody can lower the kernel's
// count of listeners, and then nobody is told anything, with no trace in the counters. The
// count is raised until the kernel answers, and the stream is told that
// an unknown number is missing.
func (c *Client) revive(ctx context.Context) {
	c.mu.Lock()
	c.stat.Silences++
	c.stat.Audited = false
	modern := c.modern
	c.mu.Unlock()
	c.q.put([]Event{{Kind: Lost}})
	for range maxRevive {
		if modern {
			// Not answered while the count is too low; makes the next LISTEN count.
			if c.send(c.request(opNothing, 0, false, randomAck())) != nil {
				return
			}
		}
		err := c.ask(ctx, opListen, 0, false, min(c.cfg.AckTimeout, maskWait))
		if !errors.Is(err, connector.ErrTimeout) {
			break
		}
	}
	_ = c.applyMask() // a failure is that of the socket, which the reader tells
}
