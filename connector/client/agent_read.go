package client

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// agentReader is the reading side of the agent's connection. There is one at a time;
// the goroutine that has it reads.
//
// Of the callbacks that a batch of messages is for, the first runs in this goroutine,
// which spares the most common case, one callback, a change of goroutines, and the
// others in goroutines of their own. The sentinel makes another goroutine the reader when
// that takes long, so that no callback stops the others; such a callback then
// gets a goroutine of its own for some time.
type agentReader struct {
	sharedReader
	a     *agent
	l     *link
	batch []*reg // that have something to run
	err   error  // of the last batch

	inline atomic.Pointer[reg] // that this goroutine runs
	taken  atomic.Bool         // another goroutine reads
}

func newAgentReader(a *agent, l *link) *agentReader {
	return &agentReader{a: a, l: l}
}

// slowRuns is how many runs a callback that kept the reader gets a goroutine of
// its own for.
const slowRuns = 64

// replace goes on reading in place of a goroutine that a callback keeps. The
// wait group was raised for it.
func (r *agentReader) replace() {
	r.taken.Store(true)
	if g := r.inline.Load(); g != nil {
		g.pace.Store(uint32(paceBatch))
		g.slow.Store(slowRuns)
	}
	r.l.w.flush()
	n := newAgentReader(r.a, r.l)
	n.sharedReader, n.err = r.sharedReader, r.err
	r.a.read(n)
}

// read is the loop of the goroutine that reads. The caller has raised the wait group.
func (a *agent) read(r *agentReader) {
	mine := true // this goroutine is still the reader
	defer func() {
		if mine {
			close(a.quiet)
		}
		a.wg.Done()
	}()
	for {
		if r.err != nil && !a.reconnect(r, r.err) {
			return
		}
		n, err := r.l.s.ReadSome(context.Background(), r.room())
		if r.err = err; n > 0 {
			r.buf.filled(n)
			r.err = a.handleAll(r)
			mine = false
			if !a.runBatch(r) {
				return
			}
			mine = true
		}
	}
}

// handleAll handles the frames in the buffer.
func (a *agent) handleAll(r *agentReader) error {
	for {
		start := r.buf.r
		h, body, ok, err := r.buf.next()
		if err != nil || !ok {
			return err
		}
		if err = a.sort(r, &h, body, r.buf.b[start:r.buf.r:r.buf.r]); err != nil {
			return err
		}
	}
}

// runBatch starts what has something to run. It returns false when another
// goroutine has become the reader meanwhile.
func (a *agent) runBatch(r *agentReader) bool {
	if len(r.batch) == 0 {
		return true
	}
	for _, g := range r.batch {
		g.fresh = false
	}
	var g *reg
	for _, x := range r.batch {
		if g == nil && x.slow.Load() == 0 {
			g = x
			continue
		}
		if n := x.slow.Load(); n > 0 {
			x.slow.Store(n - 1)
		}
		a.wg.Add(1)
		go x.runFn()
	}
	clear(r.batch)
	r.batch = r.batch[:0]
	if g == nil {
		return true
	}

	r.inline.Store(g)
	beat := a.sentinel.enter(r)
	done := false
	defer func() {
		if !done && a.sentinel.leave(beat) {
			// The callback ended this goroutine; another one reads.
			a.wg.Add(1)
			go r.replace()
		}
	}()
	g.run(r)
	done = true
	r.inline.Store(nil)
	return a.sentinel.leave(beat)
}

// sort does what a frame asks for. An error ends the connection. fr is the
// whole frame.
func (a *agent) sort(r *agentReader, h *frame.Header, body, fr []byte) error {
	switch h.Type {
	case frame.Msg:
		m, err := connector.ParseExact(body)
		if err != nil {
			return violation("%w", err)
		}
		if h.Flags&frame.FlagToID == 0 {
			a.bus.stats.stray.Add(1)
			return nil
		}
		g := a.lookup(m.ID)
		if g == nil {
			return violation("message for %v, which is not registered here", m.ID)
		}
		binary.NativeEndian.PutUint32(fr[16:], a.seq) // the tag: which connection it came by
		if g.enqueue(fr, r.cur) {
			r.batch = append(r.batch, g)
		}
		return nil
	case frame.Interest:
		a.mu.Lock()
		regs := a.byIdx[h.Group]
		a.mu.Unlock()
		for _, g := range regs { // never changed in place
			if g.interest != nil && g.enqueue(fr, r.cur) {
				r.batch = append(r.batch, g)
			}
		}
		return nil
	case frame.Site:
		id, _, err := frame.ParseID(body)
		if err != nil || h.Code == 0 || h.Code > uint16(connector.SiteLost) {
			return violation("malformed Site")
		}
		if g := a.lookup(id); g != nil && g.changed != nil && g.enqueue(fr, r.cur) {
			r.batch = append(r.batch, g)
		}
		return nil
	case frame.Ack:
		if h.Tag == askTag {
			r.l.w.answered()
			return nil
		}
		return a.ops.ack(h, body)
	case frame.Fail:
		m, err := parseHeaders(body)
		if err != nil {
			return err
		}
		if h.Flags&frame.FlagReply != 0 {
			a.bus.stats.failedReplies.Add(1)
			return nil
		}
		a.tell(failedEvent(h, m))
		return nil
	case frame.Lost:
		a.tell(lostEvent(h))
		return nil
	case frame.Stop, frame.Go:
		changed, err := a.stops.set(h, body)
		if changed {
			a.look()
		}
		return err
	case frame.Gone:
		return nil // the agent side makes no calls
	case frame.PortGone:
		a.portGone(a.follows.take(h.Pos))
		return nil
	case frame.Bye:
		return byeError(h, body)
	}
	return unexpected(h)
}

// reconnect ends the connection and makes another. It returns false when there is
// to be none.
func (a *agent) reconnect(r *agentReader, cause error) bool {
	if errors.Is(cause, io.EOF) {
		cause = errEOF
	}
	if a.closed.Load() {
		cause = connector.ErrClosed
	}
	a.broke(r.l, interrupted(cause))
	for !a.closed.Load() && !a.cfg.Reconnect.Disabled {
		if !a.pause() {
			return false
		}
		l, err := dialLink(a.ctx, a.cfg)
		if err != nil {
			a.cfg.Logger.Debug("no connection to the broker", "attempt", a.tries, "err", err)
			continue
		}
		r.l = l
		r.buf.reset()
		a.adopt(l)
		a.restoreAll(l)
		if a.closed.Load() { // close has not seen l
			l.end(connector.ErrClosed)
			return false
		}
		return true
	}
	return false
}

// pause waits before the next attempt; false means that the Bus closes.
func (a *agent) pause() bool {
	t := time.NewTimer(a.cfg.Reconnect.pause(a.tries))
	defer t.Stop()
	a.tries++
	select {
	case <-t.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}
