package client

import (
	"errors"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// A registration that is taken right after a reconnection is most likely this
// Bus's own, of the connection that the broker is about to notice the end of.
const (
	takenTries = 5
	takenPause = 20 * time.Millisecond // doubles
)

// broke ends the connection that is read: who waits for its answers is told, and
// the hook. The reader calls it.
func (a *agent) broke(l *link, cause error) {
	up := a.link.Swap(nil) != nil
	a.mu.Lock()
	a.cur = nil
	a.mu.Unlock()
	l.end(cause)
	a.restore = 0
	a.dropVias()
	a.ops.breakAll(cause)
	a.stops.clear()
	for _, f := range a.follows.takeAll() {
		a.portGone(f)
	}
	if a.closed.Load() {
		a.look()
		return
	}
	l.w.unsent(func(h frame.Header, body []byte) {
		if h.Type != frame.Send || h.Flags&(frame.FlagAck|frame.FlagReply) != 0 {
			return
		}
		m, _ := connector.ParseExact(body)
		m.Data = nil
		ev := failedEvent(&h, m)
		ev.Err = sendErr("post", m.ID, connector.Dest{Port: h.Port, Group: h.Group}, cause, false)
		a.tell(ev)
	})
	if up {
		a.tell(connector.Event{Kind: connector.EventDown, Err: cause})
	}
	a.look()
}

// dropVias makes replies to what came by the old connection fail.
func (a *agent) dropVias() {
	for _, g := range a.snapshot() {
		g.via.Store(nil)
	}
}

func (a *agent) snapshot() []*reg {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*reg, 0, len(a.regs))
	for _, g := range a.regs {
		all = append(all, g)
	}
	return all
}

// restoreAll registers again what was registered, and sets histories again. The
// last answer makes the connection usable.
func (a *agent) restoreAll(l *link) {
	a.restore = 1
	for _, g := range a.snapshot() {
		a.mu.Lock()
		again := g.live && !g.dead && !g.deleting
		a.mu.Unlock()
		switch {
		case again:
			a.restore++
			a.addAgain(l, g, 0)
		case g.isOver():
			a.remove(g)
		}
	}
	a.mu.Lock()
	hs := make(map[uint32]connector.History, len(a.histories))
	for group, h := range a.histories {
		hs[group] = h
	}
	a.mu.Unlock()
	for group, h := range hs {
		a.restore++
		o := a.newOp(opHistory)
		o.left = true
		o.onDone = func(o *op) {
			if o.broken {
				return
			}
			if o.err != nil {
				a.tell(connector.Event{
					Kind: connector.EventFailed, From: connector.From{Group: group}, Err: groupErr("history", group, o.err),
				})
			}
			a.restoredOne(l)
		}
		a.ops.add(o)
		hd := historyHeader(group, h)
		hd.Tag = o.tag
		_, _ = l.w.control(hd, historyBody(h), paceCork)
	}
	l.w.flush()
	a.restoredOne(l)
}

// isOver reports whether a registration goes with its connection.
func (g *reg) isOver() bool {
	g.a.mu.Lock()
	defer g.a.mu.Unlock()
	return g.dead || g.deleting
}

// addAgain registers g on l.
func (a *agent) addAgain(l *link, g *reg, try int) {
	o := a.newOp(opAdd)
	o.left = true
	o.onDone = func(o *op) {
		switch {
		case o.broken:
			return
		case errors.Is(o.err, connector.ErrDuplicate) && try < takenTries && !g.isOver():
			time.AfterFunc(takenPause<<try, func() { a.addAgain(l, g, try+1) })
			return
		case o.err != nil:
			a.remove(g)
			a.tell(connector.Event{
				Kind: connector.EventFailed, Msg: connector.Message{ID: g.id}, Err: idErr("add callback", g.id, o.err),
			})
		default:
			g.attach(l, a.seq)
		}
		a.restoredOne(l)
	}
	a.ops.add(o)
	// In order with the Ack: Hold of a mailbox that is still full follows Add.
	if _, err := l.w.control(frame.Header{Type: frame.Add, Flags: g.flags | frame.FlagAgain, Tag: o.tag}, frame.AppendNamed(nil, g.id, g.name), paceCork); err != nil {
		if a.ops.drop(o) && try > 0 {
			return // the connection broke meanwhile, and with it restoreAll starts anew
		}
	}
	if try > 0 {
		l.w.flush()
	}
}

// attach makes g reply, and hold back, by l.
func (g *reg) attach(l *link, seq uint32) {
	g.mu.Lock()
	g.via.Store(&via{g: g, l: l, seq: seq})
	held := g.held
	if held {
		g.holdLocked(frame.Hold)
	}
	g.mu.Unlock()
	if held {
		l.w.flush()
	}
}

// restoredOne counts the answers; the reader calls it.
func (a *agent) restoredOne(l *link) {
	if a.restore--; a.restore > 0 {
		return
	}
	a.publish(l)
	a.tell(connector.Event{Kind: connector.EventUp})
	a.look()
}
