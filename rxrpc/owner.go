package rxrpc

import (
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// serve does what the application wants. The owner calls it.
func (c *call) serve(now proto.Time) {
	c.mu.Lock()
	w, code, took := c.want, c.code, c.took
	c.want, c.took = 0, 0
	// What was to be sent may have gone with an event already. Then the writer goes on and may leave
	// more at any moment, with a wish of its own.
	out, end, busy := c.out, c.outEnd, c.outBusy
	if w.has(wantAbort) && c.pc == nil && !c.ended {
		// It was given up before anything of it was sent.
		c.ended, c.outBusy = true, false
		c.result = proto.Result{Completion: proto.LocallyAborted, Code: code}
		c.mu.Unlock()
		c.signal(proto.Ended)
		return
	}
	c.mu.Unlock()

	if w.has(wantStart) && !c.start(now) {
		return
	}
	if c.pc != nil {
		if took > 0 {
			c.pc.Consumed(now, took)
		}
		switch {
		case w.has(wantAbort):
			c.pc.Abort(now, code) // and Ended is told
			return
		case w.has(wantSend) && busy:
			c.send(now, out, end)
		}
	}
	c.settle(now)
}

// settle lets go of a call that the application is done with, as soon as the
// protocol has all that is to be sent.
func (c *call) settle(now proto.Time) {
	c.mu.Lock()
	gone := c.detached && (c.ended || !c.outBusy && !c.want.has(wantAbort)) // an abort may be on its way here
	c.mu.Unlock()
	if !gone {
		return
	}
	c.release(now)
	if s := c.server; s != nil && !c.settled {
		s.gone()
	}
	c.settled = true // it may be in the queue still, and come by again
	c.recycle()
}

// start begins a client call; false if it could not.
func (c *call) start(now proto.Time) bool {
	c.params.Tag = c
	pc, err := c.e.newProtoCall(now, &c.params)
	if err != nil {
		c.mu.Lock()
		c.refused, c.ended = err, true
		c.outBusy = false
		c.mu.Unlock()
		c.signal(proto.Ended)
		return false
	}
	c.pc = pc
	return true
}

// send passes on what the writer has left. When all is taken the writer is told.
func (c *call) send(now proto.Time, out []byte, end bool) {
	n, err := c.pc.Send(now, out, !end)
	c.mu.Lock()
	c.out = out[n:]
	switch {
	case err == proto.ErrFull, err == proto.ErrNotNow:
		// There will be room, or the rest of the request will come.
	case err != nil:
		// The call has ended, or is about to: the reader will be told why.
		c.outBusy = false
		if c.refused == nil && err != proto.ErrEnded {
			c.refused = err
		}
	case len(c.out) == 0:
		c.outBusy = false
	}
	told := !c.outBusy
	c.mu.Unlock()
	if told && !c.collect {
		c.signal(proto.Writable)
	}
}

// happened takes in what the protocol tells of the call. The owner calls it.
func (c *call) happened(now proto.Time, w proto.What) {
	if w.Has(proto.Readable) || w.Has(proto.Ended) {
		c.arrived(now)
	}
	if w.Has(proto.Ended) {
		c.end(now)
		return
	}
	if c.pc != nil && (w.Has(proto.Writable) || c.server != nil) {
		c.mu.Lock()
		out, end, busy, detached := c.out, c.outEnd, c.outBusy, c.detached
		c.mu.Unlock()
		if busy {
			c.send(now, out, end)
		}
		if detached {
			c.settle(now)
			return
		}
	}
	if c.notify != nil || w.Has(proto.Readable) && !c.collect {
		c.signal(w)
	}
}

// arrived takes the data that has arrived.
func (c *call) arrived(now proto.Time) {
	if c.pc == nil {
		return
	}
	if c.collect {
		c.gather(now)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	thrown := 0
	for {
		b, last, ok := c.pc.Take()
		if !ok {
			break
		}
		c.rxEnd = c.rxEnd || last
		if c.discard {
			thrown += b.Packets()
			b.Release()
			continue
		}
		c.rx.push(b)
	}
	if thrown > 0 {
		c.pc.Consumed(now, thrown)
	}
}

// gather appends the data that has arrived to in.
func (c *call) gather(now proto.Time) {
	packets := 0
	for {
		b, last, ok := c.pc.Take()
		if !ok {
			break
		}
		if len(c.in)+len(b.Bytes()) > c.limit {
			b.Release()
			c.tooLarge(now)
			return
		}
		c.in = append(c.in, b.Bytes()...)
		packets += b.Packets()
		b.Release()
		c.whole = c.whole || last
	}
	if packets > 0 {
		c.pc.Consumed(now, packets)
	}
	if c.whole && c.server != nil {
		c.collect = false
		c.mu.Lock()
		c.rxEnd = true
		c.mu.Unlock()
		c.server.dispatch()
	}
}

// tooLarge aborts a call whose data is longer than is taken.
func (c *call) tooLarge(now proto.Time) {
	c.mu.Lock()
	if c.refused == nil {
		c.refused = ErrTooLarge
	}
	c.mu.Unlock()
	code := wire.UserAbort
	if c.server != nil {
		code = wire.AbortCode(abortTooLarge)
	}
	c.pc.Abort(now, code)
}

// end stores how the call ended and gives the protocol its part back.
func (c *call) end(now proto.Time) {
	if c.pc == nil {
		return
	}
	c.mu.Lock()
	c.result, c.service = c.pc.Result(), c.pc.Service()
	if c.result.Failed() {
		c.rx.drop() // as AF_RXRPC does
	}
	c.ended, c.outBusy = true, false
	r := c.result
	c.mu.Unlock()
	c.release(now)
	switch {
	case c.server != nil:
		if !c.server.ended(&r) {
			c.recycle() // nobody has seen it
			return
		}
	case c.collect:
		c.e.wokenNow++
	}
	c.mu.Lock()
	detached := c.detached
	c.mu.Unlock()
	if detached {
		c.settle(now)
		return
	}
	c.signal(proto.Ended)
}

// release gives the protocol its part back.
func (c *call) release(now proto.Time) {
	if c.pc == nil {
		return
	}
	pc := c.pc
	c.pc = nil
	pc.SetTag(nil)
	pc.Release(now)
}

// events passes on what the protocol tells.
func (e *Endpoint) events(now proto.Time) {
	if e.far != nil {
		e.farEvents(now)
		return
	}
	for {
		ev, ok := e.p.Event()
		if !ok {
			return
		}
		if ev.What.Has(proto.Arrived) {
			e.accept(now, ev.Call)
		}
		switch c := ev.Call.Tag.(type) {
		case *call:
			if ev.What.Has(proto.Arrived) {
				c.pc = ev.Call // of a charge, which was made before there was a call
			}
			c.happened(now, ev.What)
		case *sockCall:
			c.happened(now, ev.What)
		}
	}
}
