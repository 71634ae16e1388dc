package rxrpc

import (
	"sync"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// want is what the application wants of the owner.
type want uint8

const (
	wantStart    want = 1 << iota // begin the client call of params
	wantSend                      // out
	wantConsumed                  // took
	wantAbort                     // code
	wantSettle                    // nothing but to be looked at
)

// A call is what the owner of the protocol's state and the application share of a call:
// its mailbox. The application asks by request and submit; the owner answers by storing what
// happened and by signal.
type call struct {
	e      *Endpoint
	queued bool // in the token's queue, whose mutex guards it

	// notify, if it is set, is called by the owner instead of waking a waiter. It must not
	// block, nor call into the endpoint. It is set before the call begins.
	notify func(*call, proto.What)

	// wake has room for one.
	wake chan struct{}

	// Of the owner alone.
	pc      *proto.Call
	collect bool   // data that arrives goes to in at once: nobody reads
	in      []byte // what was collected; the waiter has it when the call has ended
	limit   int    // of in
	whole   bool   // all of the peer's data was collected
	settled bool   // settle has let go of it
	server  *ServerCall
	params  proto.CallParams

	// mu guards what follows.
	mu       sync.Mutex
	want     want
	code     wire.AbortCode
	out      []byte // what is left to send, borrowed from the writer until it is all taken
	outEnd   bool   // and it is the end
	outBusy  bool   // out, or its end, is not taken yet
	took     int    // packets that were read, not reported yet
	rx       bufQueue
	rxEnd    bool // the last of rx is the last there is
	discard  bool // what arrives is thrown away: a handler that does not want it
	detached bool // the application is done with the call: it goes on by itself
	refused  error
	ended    bool
	result   proto.Result
	service  wire.ServiceID // after an upgrade the new one

	reply []byte // memory for the reply of a Unary
}

// bufQueue is a queue of received pieces.
type bufQueue struct {
	bufs []*proto.Buf
	head int
	off  int // of the first
}

func (q *bufQueue) push(b *proto.Buf) {
	if q.head > len(q.bufs)/2 && len(q.bufs) == cap(q.bufs) {
		// A reader that is always a little behind must not make it grow for ever.
		n := copy(q.bufs, q.bufs[q.head:])
		clear(q.bufs[n:])
		q.bufs, q.head = q.bufs[:n], 0
	}
	q.bufs = append(q.bufs, b)
}

func (q *bufQueue) empty() bool { return q.head == len(q.bufs) }

// read copies what is there into p and returns how many bytes, and how many packets
// are used up.
func (q *bufQueue) read(p []byte) (n, packets int) {
	for q.head < len(q.bufs) {
		b := q.bufs[q.head]
		k := copy(p[n:], b.Bytes()[q.off:])
		n += k
		if q.off += k; q.off < len(b.Bytes()) {
			break
		}
		packets += b.Packets()
		b.Release()
		q.bufs[q.head] = nil
		q.head++
		q.off = 0
	}
	if q.head == len(q.bufs) {
		q.bufs, q.head = q.bufs[:0], 0
	}
	return n, packets
}

// drop releases all.
func (q *bufQueue) drop() {
	for _, b := range q.bufs[q.head:] {
		b.Release()
	}
	clear(q.bufs)
	q.bufs, q.head, q.off = q.bufs[:0], 0, 0
}

// signal wakes the waiter, or tells whoever wants to know.
func (c *call) signal(w proto.What) {
	if c.notify != nil {
		c.notify(c, w)
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// serve does what the application wants. The owner calls it.
func (c *call) serve(now proto.Time) {
	c.mu.Lock()
	w, code, took := c.want, c.code, c.took
	c.want, c.took = 0, 0
	out, end := c.out, c.outEnd
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
		case w.has(wantSend):
			c.send(now, out, end)
		}
	}
	c.settle(now)
}

func (w want) has(x want) bool { return w&x != 0 }

// settle lets go of a call that the application is done with, as soon as the
// protocol has all that is to be sent.
func (c *call) settle(now proto.Time) {
	c.mu.Lock()
	gone := c.detached && (!c.outBusy || c.ended)
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
	pc, err := c.e.p.NewCall(now, &c.params)
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
	pc.Tag = nil
	pc.Release(now)
}

// events passes on what the protocol tells.
func (e *Endpoint) events(now proto.Time) {
	for {
		ev, ok := e.p.Event()
		if !ok {
			return
		}
		if ev.What.Has(proto.Arrived) {
			e.accept(now, ev.Call)
		}
		if c, ok := ev.Call.Tag.(*call); ok {
			if ev.What.Has(proto.Arrived) {
				c.pc = ev.Call // of a charge, which was made before there was a call
			}
			c.happened(now, ev.What)
		}
	}
}
