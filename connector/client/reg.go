package client

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// reg is a registered callback with its mailbox.
//
// Messages that the reader finds for an idle one are lent to it as they lie in the read
// buffer; the reader then starts run, or runs it itself. What comes while it runs is
// copied behind them.
type reg struct {
	a        *agent
	id       cbid.ID
	name     string
	handler  connector.Handler
	interest connector.InterestHandler // handler, if it is one
	flags    uint8                     // of Add
	changed  func(connector.SiteState, string)
	runFn    func()              // run in a goroutine of its own, bound once
	via      atomic.Pointer[via] // replies of the present connection
	out      atomic.Bool         // removed
	mute     atomic.Bool         // nobody wants its messages

	// Guarded by agent.mu.
	live     bool // the broker has acknowledged it
	dead     bool // its AddCallback has given up
	deleting bool

	// The reader's, until it starts the run.
	fresh bool
	items [][]byte
	buf   *sharedBuf

	// The runner's.
	next int // in items
	cur  []byte
	off  int // in cur
	told int8
	site connector.SiteState // told last
	d    connector.Delivery
	pace atomic.Uint32 // of replies
	slow atomic.Int32  // runs that are to have a goroutine of their own

	mu      sync.Mutex // guards what follows
	running bool
	q       []byte // frames that came while it ran
	bytes   int    // in q and cur
	held    bool   // the broker was asked to hold them back
	idle    chan struct{}
}

func newReg(a *agent, id cbid.ID, name string, h connector.Handler) *reg {
	g := &reg{a: a, id: id, name: name, handler: h}
	g.interest, _ = h.(connector.InterestHandler)
	g.runFn = func() {
		defer a.wg.Done()
		g.run(nil)
	}
	return g
}

// enqueue puts a frame into the mailbox. The reader calls it; fr lies in buf.
// It reports whether a run has become due.
func (g *reg) enqueue(fr []byte, buf *sharedBuf) (start bool) {
	if g.fresh {
		g.items = append(g.items, fr)
		return false
	}
	g.mu.Lock()
	if !g.running {
		g.running = true
		g.mu.Unlock()
		g.fresh = true
		g.items = append(g.items[:0], fr)
		g.next = 0
		g.buf = buf
		buf.refs.Add(1)
		return true
	}
	g.q = append(g.q, fr...)
	g.bytes += len(fr)
	var l *link
	if g.bytes > g.a.cfg.MailboxBytes && !g.held {
		l = g.holdLocked(frame.Hold)
	}
	g.mu.Unlock()
	if l != nil {
		l.w.flush()
	}
	return false
}

// holdLocked appends a Hold or Resume, under mu so that the two keep their order, and
// returns the connection to be flushed.
func (g *reg) holdLocked(t frame.Type) *link {
	g.held = t == frame.Hold
	v := g.via.Load()
	if v == nil {
		return nil
	}
	_, _ = v.l.w.control(frame.Header{Type: t}, frame.AppendID(nil, g.id), paceCork)
	return v.l
}

// run handles what is in the mailbox until it is empty. inline is the reader
// whose goroutine it is, if any.
func (g *reg) run(inline *agentReader) {
	done := false
	defer func() {
		if !done { // the handler ended the goroutine
			g.a.wg.Add(1)
			go g.runFn()
		}
	}()
	for g.next < len(g.items) {
		fr := g.items[g.next]
		g.next++
		g.setPace(inline, g.next < len(g.items))
		g.deliver(fr)
	}
	if g.buf != nil {
		g.buf.release()
		g.buf = nil
		if inline != nil {
			inline.l.w.flush() // replies that were held together
		}
	}
	for g.more() {
		for g.off < len(g.cur) {
			h, _, _ := frame.Parse(g.cur[g.off:])
			fr := g.cur[g.off : g.off+int(h.Len)]
			g.off += int(h.Len)
			g.setPace(nil, g.off < len(g.cur))
			g.deliver(fr)
		}
	}
	done = true
}

// setPace says how soon the reply to the next message must leave. Only the
// reader may hold replies together: it is replaced when that takes long.
func (g *reg) setPace(inline *agentReader, more bool) {
	p := paceNow
	switch {
	case more && inline != nil && !inline.taken.Load():
		p = paceCork
	case more:
		p = paceBatch
	}
	g.d.More = more
	if pace(g.pace.Load()) != p {
		g.pace.Store(uint32(p))
	}
}

// more takes what has come meanwhile; false means that the run is over.
func (g *reg) more() bool {
	g.mu.Lock()
	g.bytes -= len(g.cur)
	var l *link
	if g.held && g.bytes <= g.a.cfg.MailboxBytes/2 {
		l = g.holdLocked(frame.Resume)
	}
	g.cur, g.q, g.off = g.q, g.cur[:0], 0
	if cap(g.q) > keepBuf {
		g.q = nil
	}
	var idle chan struct{}
	over := len(g.cur) == 0
	if over {
		g.running = false
		idle, g.idle = g.idle, nil
	}
	g.mu.Unlock()
	if l != nil {
		l.w.flush()
	}
	if idle != nil {
		close(idle)
	}
	return !over
}

// waitIdle waits until nothing is in the mailbox and nothing runs.
func (g *reg) waitIdle(ctx context.Context) error {
	g.mu.Lock()
	if !g.running {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-g.a.ctx.Done():
		return connector.ErrClosed
	}
}

// deliver runs the handler for one frame, which the reader has checked.
func (g *reg) deliver(fr []byte) {
	if g.a.closed.Load() || g.mute.Load() {
		g.a.bus.stats.discarded.Add(1)
		return
	}
	h, body, _ := frame.Parse(fr)
	if h.Type == frame.Interest {
		told := int8(1)
		if h.Code == 0 {
			told = -1
		}
		if g.interest != nil && told != g.told {
			g.told = told
			g.guard(func() { g.interest.Interest(g.a.ctx, h.Group, told > 0) })
		}
		return
	}
	if h.Type == frame.Site {
		_, text, _ := frame.ParseID(body)
		state := connector.SiteState(h.Code)
		if state == connector.SiteInForce && len(text) == 0 && g.site != connector.SiteSuspended && g.site != connector.SiteLost {
			return // a new connection: nothing has changed
		}
		g.site = state
		g.guard(func() { g.changed(state, string(text)) })
		return
	}
	g.d.Msg, _ = connector.ParseExact(body)
	g.d.From = fromOf(&h)
	g.d.Call = h.Flags&frame.FlagCall != 0
	g.d.Via = staleVia
	if v := g.via.Load(); v != nil && v.seq == h.Tag {
		g.d.Via = v
	}
	g.handle()
}

// handle calls the handler with d.
func (g *reg) handle() {
	done := false
	defer func() {
		if !done {
			g.failed(recover())
		}
	}()
	g.handler.Handle(g.a.ctx, &g.d)
	done = true
}

// guard is handle for another method of the handler.
func (g *reg) guard(f func()) {
	done := false
	defer func() {
		if !done {
			g.failed(recover())
		}
	}()
	f()
	done = true
}

// failed reports a handler that did not return; a nil value means that it ended
// its goroutine.
func (g *reg) failed(value any) {
	g.a.bus.stats.panics.Add(1)
	g.a.cfg.Logger.Error("callback did not return", "id", g.id.String(), "name", g.name, "value", value, "stack", string(debug.Stack()))
}
