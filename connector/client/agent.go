package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// agent is the agent side of a Bus: one connection, which a goroutine reads.
type agent struct {
	bus *Bus
	cfg *Config
	sender
	port atomic.Uint32

	ctx    context.Context // of the handlers; ends when Close begins
	cancel context.CancelFunc
	closed atomic.Bool
	gone   chan struct{}  // Close is done
	quiet  chan struct{}  // nobody reads any more
	wg     sync.WaitGroup // goroutines that read or run handlers

	sentinel sentinel
	follows  follows

	mu        sync.Mutex // guards what follows
	regs      map[cbid.ID]*reg
	byIdx     map[uint32][]*reg
	histories map[uint32]connector.History
	cur       *link     // that is read; not in sender.link while registrations are restored
	waiters   []*waiter // who waits for look

	// The reader's.
	seq     uint32 // number of the connection, which replies must go back through
	last    *reg   // of the last message
	tries   int
	restore int // answers that are missing before the connection is up again
}

func newAgent(b *Bus, l *link) *agent {
	a := &agent{
		bus: b, cfg: b.cfg, gone: make(chan struct{}), quiet: make(chan struct{}),
		regs: make(map[cbid.ID]*reg), byIdx: make(map[uint32][]*reg),
		histories: make(map[uint32]connector.History),
	}
	a.forAgent, a.waits, a.pool = true, a, &b.pool
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.adopt(l)
	a.publish(l)
	a.sentinel.wake = make(chan struct{}, 1)
	a.wg.Add(2)
	go a.watch(&a.sentinel)
	go a.read(newAgentReader(a, l))
	return a
}

// adopt makes l the connection that is read.
func (a *agent) adopt(l *link) {
	l.w.onRoom = a.look
	l.w.onFail = l.halt
	a.seq++
	a.mu.Lock()
	a.cur = l
	a.mu.Unlock()
}

// publish lets senders use l.
func (a *agent) publish(l *link) {
	a.port.Store(l.port)
	a.tries = 0
	a.link.Store(l)
}

// flags are those of a message to that receiver.
func (a *agent) flags(to connector.Dest) uint8 {
	if to.Port == 0 && to.Group == 0 {
		return frame.FlagAgent
	}
	return 0
}

func (a *agent) check(ctx context.Context) error {
	if a.closed.Load() {
		return connector.ErrClosed
	}
	return ctx.Err()
}

// step waits until w is woken, by look or by who finishes its request.
func (a *agent) step(ctx context.Context, w *waiter, gen uint64) error {
	if err := a.check(ctx); err != nil {
		return err
	}
	if a.cfg.Reconnect.Disabled && a.link.Load() == nil {
		return connector.ErrInterrupted
	}
	a.mu.Lock()
	a.waiters = append(a.waiters, w)
	a.mu.Unlock()
	var err error
	if a.gen.Load() == gen {
		select {
		case <-w.ch:
		case <-ctx.Done():
			err = ctx.Err()
		case <-a.ctx.Done():
			err = connector.ErrClosed
		}
	}
	a.mu.Lock()
	for i, x := range a.waiters {
		if x == w {
			n := len(a.waiters) - 1
			a.waiters[i], a.waiters[n] = a.waiters[n], nil
			a.waiters = a.waiters[:n]
			break
		}
	}
	a.mu.Unlock()
	return err
}

func (a *agent) passOn() {}

// look makes everybody who waits look again.
func (a *agent) look() {
	a.gen.Add(1)
	a.mu.Lock()
	all := a.waiters
	a.waiters = nil
	a.mu.Unlock()
	for _, w := range all {
		w.wake()
	}
}

// tell gives an event to the hook.
func (a *agent) tell(ev connector.Event) {
	if a.cfg.OnEvent != nil {
		a.cfg.OnEvent(ev)
		return
	}
	a.cfg.Logger.Debug("bus event", "kind", ev.Kind.String(), "err", ev.Err)
}

// close ends the agent side.
func (a *agent) close() {
	if a.closed.Swap(true) {
		<-a.gone
		return
	}
	a.cancel()
	a.mu.Lock()
	l := a.cur
	a.mu.Unlock()
	if l != nil {
		l.part(a.cfg.Linger, func() error {
			<-a.quiet
			return connector.ErrClosed
		})
	}
	<-a.quiet
	a.ops.breakAll(connector.ErrClosed)
	a.look()
	a.wg.Wait()
	close(a.gone)
}
