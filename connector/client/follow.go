package client

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// follows are the ports whose end is awaited, by the numbers that the broker knows
// them by. A number is never used again, so what comes late for one does no harm.
type follows struct {
	mu   sync.Mutex
	next uint64
	m    map[uint64]*follow
}

type follow struct {
	a    *agent
	port uint32
	num  uint64
	gone func()
	over atomic.Bool // gone was called, or is not to be
}

func (t *follows) add(f *follow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[uint64]*follow)
	}
	t.next++
	f.num = t.next
	t.m[f.num] = f
}

// take returns the follow with that number and forgets it.
func (t *follows) take(num uint64) *follow {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.m[num]
	delete(t.m, num)
	return f
}

func (t *follows) takeAll() map[uint64]*follow {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.m
	t.m = nil
	return all
}

// FollowPort implements connector.PortBus.
func (b *Bus) FollowPort(ctx context.Context, port uint32, gone func()) (stop func(), err error) {
	f := &follow{a: b.agent, port: port, gone: gone}
	if err := f.begin(ctx); err != nil {
		return nil, &connector.OpError{Op: "follow", Port: port, Err: err}
	}
	return f.stop, nil
}

func (f *follow) begin(ctx context.Context) error {
	a := f.a
	if f.port == 0 || f.gone == nil {
		return connector.ErrInvalid
	}
	if err := a.check(ctx); err != nil {
		return err
	}
	a.follows.add(f)
	_, err := a.request(ctx, frame.Header{Type: frame.Follow, Port: f.port, Pos: f.num}, nil, nil)
	switch {
	case err != nil:
		f.stop()
	case f.over.Load():
		// The connection broke meanwhile, gone has been called, and a new one was asked.
		a.unfollow(f)
	}
	return err
}

// stop ends the following.
func (f *follow) stop() {
	if !f.over.Swap(true) && f.a.follows.take(f.num) != nil {
		f.a.unfollow(f)
	}
}

func (a *agent) unfollow(f *follow) {
	if l := a.link.Load(); l != nil {
		_, _ = l.w.control(frame.Header{Type: frame.Unfollow, Pos: f.num}, nil, paceBatch)
	}
}

// portGone is called in the reader, which has raised the wait group.
func (a *agent) portGone(f *follow) {
	if f == nil || f.over.Load() {
		return
	}
	a.wg.Go(func() {
		if !f.over.Swap(true) && !a.closed.Load() {
			a.guard(f)
		}
	})
}

func (a *agent) guard(f *follow) {
	done := false
	defer func() {
		if !done {
			a.bus.stats.panics.Add(1)
			a.cfg.Logger.Error("the function that follows a port did not return", "port", f.port, "value", recover(), "stack", string(debug.Stack()))
		}
	}()
	f.gone()
	done = true
}
