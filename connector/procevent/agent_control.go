package procevent

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// procHandler is the callback of id 1:1.
type procHandler Agent

// Interest says whether group 1 has members.
func (h *procHandler) Interest(_ context.Context, _ uint32, listening bool) {
	a := (*Agent)(h)
	a.hand(func() { a.loop.unfiltered = listening })
}

// Handle answers a request. It returns when the answer holds: after LISTEN and SUBSCRIBE
// with the kernel subscribed to.
func (h *procHandler) Handle(ctx context.Context, d *connector.Delivery) {
	a := (*Agent)(h)
	c, err := parseControl(d.Msg.Data, native)
	var group uint32
	if err == nil {
		group, err = a.control(ctx, d, &c, false)
	}
	a.answer(ctx, d, appendAnswer(nil, errnoFor(err), group, sinceBoot(), native), err)
}

// answer answers a request, which err may have refused.
func (a *Agent) answer(ctx context.Context, d *connector.Delivery, data []byte, err error) {
	if err != nil {
		a.hand(func() { a.loop.stats.Refused++ })
	}
	if err := d.Reply(ctx, data); err != nil {
		a.cfg.Logger.Debug("answer to a request for process events", "port", d.From.Port, "error", err)
	}
}

// activeWait bounds the wait for the kernel, and for word of a new member of a group.
const activeWait = 5 * time.Second

func (a *Agent) control(ctx context.Context, d *connector.Delivery, c *control, site bool) (group uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, activeWait)
	defer cancel()
	switch {
	case c.op == opSubscribe:
		f, err := a.authorize(d.From.Cred, c.filter)
		if err == nil {
			err = f.Check()
		}
		if err != nil {
			return 0, err
		}
		return a.subscribe(ctx, f.canonical(), d.From.Cred.UID, c.joined, site)
	case site:
	case c.op == opListen:
		f, err := a.authorize(d.From.Cred, Filter{})
		if err == nil && !f.IsZero() {
			err = connector.ErrPermission
		}
		if err != nil {
			return 0, err
		}
		return 0, a.active(ctx)
	case c.op == opIgnore:
		return 0, nil
	}
	return 0, connector.ErrInvalid
}

func (a *Agent) authorize(who connector.Cred, f Filter) (Filter, error) {
	if a.cfg.Authorize == nil {
		return f, nil
	}
	f, err := a.cfg.Authorize(who, f)
	if err != nil {
		return f, errors.Join(connector.ErrPermission, err)
	}
	return f, nil
}

// active waits until the kernel is subscribed to, if anybody listens.
func (a *Agent) active(ctx context.Context) error {
	var err error
	derr := a.do(ctx, func() {
		a.settle()
		if a.wanted() && a.client == nil {
			err = a.loop.dialErr
		}
	})
	if derr != nil {
		return derr // err may still be written to
	}
	return err
}

// subscribe finds or makes the group of a filter, and if that is the one that the asker has
// joined, waits until its events flow.
func (a *Agent) subscribe(ctx context.Context, f Filter, uid, joined uint32, site bool) (uint32, error) {
	var g *filterGroup
	var fresh bool
	var err error
	var interested, ready chan struct{}
	derr := a.do(ctx, func() {
		if g, fresh, err = a.filterGroup(f, uid, site); err == nil {
			interested, ready = g.interested, g.ready
		}
	})
	if derr != nil {
		return 0, derr
	}
	if err != nil {
		return 0, err
	}
	if fresh {
		if err := a.bus.AddCallback(ctx, g.id(), "proc filter", g); err != nil {
			a.hand(func() { a.forget(g) })
			return 0, err
		}
	}
	if joined == g.group {
		select {
		case <-interested:
		case <-ctx.Done():
			return g.group, ctx.Err()
		}
		if err := a.active(ctx); err != nil {
			return g.group, err
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return g.group, ctx.Err()
		}
	}
	return g.group, nil
}

// delPatience is how long a removal may take: a bus that is gone would make it
// wait until it is back.
const delPatience = 2 * time.Second

// del removes a registration; the bus may be gone already.
func (a *Agent) del(id cbid.ID) error {
	ctx, cancel := context.WithTimeout(context.Background(), delPatience)
	defer cancel()
	err := a.bus.DelCallback(ctx, id)
	if errors.Is(err, connector.ErrNoID) || errors.Is(err, connector.ErrClosed) {
		return nil
	}
	return err
}

// errnoFor is the number in an answer.
func errnoFor(err error) uint32 {
	var no syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, connector.ErrPermission):
		return uint32(syscall.EPERM)
	case errors.As(err, &no) && no > 0 && no < 4096:
		return uint32(no)
	case errors.Is(err, context.DeadlineExceeded):
		return uint32(syscall.ETIMEDOUT)
	}
	return uint32(syscall.EIO)
}
