package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// addCallback registers h under id; with an opt for the whole site.
func (a *agent) addCallback(ctx context.Context, id cbid.ID, name string, h connector.Handler, opt *connector.SiteOptions) error {
	switch {
	case h == nil:
		return fmt.Errorf("no handler: %w", connector.ErrInvalid)
	case len(name) > frame.MaxName || strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("name %q: at most %d bytes, no NUL: %w", name, frame.MaxName, connector.ErrInvalid)
	}
	if err := a.check(ctx); err != nil {
		return err
	}
	g := newReg(a, id, name, h)
	if opt != nil {
		g.flags, g.changed = frame.FlagSite, opt.Changed
		if opt.Takeover {
			g.flags |= frame.FlagTakeover
		}
	}
	if !a.insert(g) {
		return connector.ErrDuplicate
	}
	pending, err := a.request(ctx, frame.Header{Type: frame.Add, Flags: g.flags}, frame.AppendNamed(nil, id, name), func(o *op) {
		a.added(g, o.err)
	})
	switch {
	case err == nil:
		return nil
	case !pending:
		a.remove(g)
		return err
	}
	// The answer is still to come: added undoes it.
	g.mute.Store(true)
	a.mu.Lock()
	g.dead = true
	late := g.live
	a.mu.Unlock()
	if late { // it came just when the caller gave up
		a.discard(g)
	}
	return err
}

// added is called in the reader with the answer to an Add.
func (a *agent) added(g *reg, err error) {
	a.mu.Lock()
	g.live = err == nil
	dead, l := g.dead, a.cur
	a.mu.Unlock()
	switch {
	case err == nil:
		g.attach(l, a.seq)
		if dead {
			a.discard(g)
		}
	case dead:
		a.remove(g)
	}
}

// discard removes a registration that nobody wants any more, without waiting.
func (a *agent) discard(g *reg) {
	l := a.link.Load()
	if l == nil {
		return // it is not restored
	}
	o := a.newOp(opDel)
	o.left = true
	o.onDone = func(o *op) {
		if !o.broken {
			a.remove(g)
		}
	}
	a.ops.add(o)
	if _, err := l.w.control(frame.Header{Type: frame.Del, Tag: o.tag}, frame.AppendID(nil, g.id), paceNow); err != nil {
		a.ops.drop(o)
	}
}

// insert reports whether g's id was free.
func (a *agent) insert(g *reg) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.regs[g.id] != nil {
		return false
	}
	a.regs[g.id] = g
	a.byIdx[g.id.Idx] = append(slices.Clip(a.byIdx[g.id.Idx]), g)
	return true
}

// remove forgets g. Nothing more is put into its mailbox.
func (a *agent) remove(g *reg) {
	g.out.Store(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.regs[g.id] != g {
		return
	}
	delete(a.regs, g.id)
	rest := slices.DeleteFunc(slices.Clone(a.byIdx[g.id.Idx]), func(x *reg) bool { return x == g })
	if len(rest) == 0 {
		delete(a.byIdx, g.id.Idx)
		return
	}
	a.byIdx[g.id.Idx] = rest
}

// lookup finds the callback of a message; the reader calls it.
func (a *agent) lookup(id cbid.ID) *reg {
	if g := a.last; g != nil && g.id == id && !g.out.Load() {
		return g
	}
	a.mu.Lock()
	a.last = a.regs[id]
	a.mu.Unlock()
	return a.last
}

// delCallback removes a registration and waits for its handler.
func (a *agent) delCallback(ctx context.Context, id cbid.ID) error {
	if err := a.check(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	g := a.regs[id]
	if g == nil || !g.live || g.dead || g.deleting {
		a.mu.Unlock()
		return connector.ErrNoID
	}
	g.deleting = true
	a.mu.Unlock()
	pending, err := a.request(ctx, frame.Header{Type: frame.Del}, frame.AppendID(nil, id), func(o *op) {
		if o.err == nil || errors.Is(o.err, connector.ErrNoID) {
			a.remove(g)
		}
	})
	switch {
	case err == nil, !pending && errors.Is(err, connector.ErrNoID): // the latter: it went with a connection
		a.remove(g)
		return g.waitIdle(ctx)
	case !pending:
		a.mu.Lock()
		g.deleting = false
		a.mu.Unlock()
	}
	return err
}

func historyHeader(group uint32, h connector.History) frame.Header {
	hd := frame.Header{Type: frame.History, Group: group}
	if h.Durable {
		hd.Flags = frame.FlagSite
	}
	return hd
}

func historyBody(h connector.History) []byte {
	return frame.AppendU64s(nil, uint64(h.Messages), uint64(h.Bytes), uint64(h.Age))
}

// setHistory sets a history and remembers it for the next connection.
func (a *agent) setHistory(ctx context.Context, group uint32, h connector.History) error {
	if group == 0 || h.Messages < 0 || h.Bytes < 0 || h.Age < 0 {
		return connector.ErrInvalid
	}
	_, err := a.request(ctx, historyHeader(group, h), historyBody(h), func(o *op) {
		if o.err != nil {
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if h == (connector.History{}) {
			delete(a.histories, group)
			return
		}
		a.histories[group] = h
	})
	return err
}
