package rxagent

import (
	"context"
	"errors"
	"slices"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// outgoing is an event that is to be sent.
type outgoing struct {
	k    *sock // nil: of no socket
	h    rxmsg.Header
	body []byte
	last bool // nothing, but the end of it all
}

// send has an event sent. It may be called in the middle of the protocol.
func (o *owner) send(x outgoing) {
	o.mu.Lock()
	if len(o.out) < o.most() {
		o.out = append(o.out, x)
	} else if !o.deaf {
		// It makes mistakes faster than it reads of them.
		o.deaf = true
		o.a.cfg.Logger.Warn("rxrpc agent: a client that does not read what it is told of its requests is given up", "port", o.from.Port)
		o.a.wg.Go(func() { o.giveUp(errno(syscall.ENOBUFS, "what this port is told of its requests was not read")) })
	}
	o.stir()
}

// most is how many events may wait besides those of the sockets: of requests that have failed, and of data that was taken.
func (o *owner) most() int { return 4 * o.a.cfg.Limits.Requests }

// complete completes a request from where nothing may wait. Completions do not wait for events, which
// the client may not be reading while it waits for them.
func (o *owner) complete(r *request, p rxmsg.Reply, body []byte) {
	if r.left(); r.p.done() && !r.noReply() {
		o.replies.put(&o.a.wg, 0, func() { o.a.reply(o.replying(), r, p, body) })
	}
}

// news is SocketConfig.Notify: there is something to receive of k.
func (o *owner) news(k *sock) {
	o.mu.Lock()
	if k.ready {
		o.mu.Unlock()
		return
	}
	k.ready = true
	o.ready = append(o.ready, k)
	o.stir()
}

// stir has somebody send what there is to send, unless somebody does. o.mu is held; stir unlocks it.
func (o *owner) stir() {
	idle := !o.relay.busy
	o.relay.busy = true
	o.mu.Unlock()
	if idle {
		o.relayOn()
	}
}

// A relay is what an owner is being sent. The goroutine of the bus sends it, if the bus has one (connector.Runner): there an event goes straight to
// its receiver. When that has no room the pump goes on, which can wait, until nothing is left and the broker has handled what it
// posted: what goes straight would overtake that. Whoever set busy, or was handed it, has all of the rest.
type relay struct {
	busy bool // owner.mu

	buf   []byte
	out   []outgoing
	ready []*sock
	outAt int // what has been sent of out, and of ready
	at    int
	turn  int               // messages of ready[at]
	held  connector.Message // that there was no room for, made in buf; no data: none
	last  bool              // the owner was told the last
	loose bool              // the pump has posted what the broker may not have handled yet
}

const (
	// turn is how many messages of a socket are sent before it is another's turn.
	turn = 64
	// visit is how many are sent on the goroutine of the bus before that turns to others.
	visit = 256
)

// progress is how far a relay has come.
type progress uint8

const (
	sent    progress = iota // there may be more
	done                    // nothing is left, and busy was given up
	settle                  // nothing is left, and the pump has to wait until the broker has handled it
	blocked                 // the pump has to wait
	over                    // the owner is gone, or was told the last
)

// relayOn hands what there is to send to whoever can send it.
func (o *owner) relayOn() {
	if o.a.runner == nil || !o.a.runner.Run(o.round) {
		o.rouse()
	}
}

// rouse hands busy to the pump.
func (o *owner) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// onLoop sends on the goroutine of the bus.
func (o *owner) onLoop() {
	p := over
	if o.ctx.Err() == nil {
		p = o.sendSome(true, visit)
	}
	switch p {
	case sent:
		o.relayOn()
	case blocked, over:
		o.rouse()
	}
}

// pump sends what has to wait for its receiver, until the owner is gone. Nobody relays when it has ended.
func (o *owner) pump() {
	defer close(o.pumped)
	for {
		select {
		case <-o.wake:
		case <-o.ctx.Done():
			if !o.claim() {
				<-o.wake
			}
			return
		}
		if len(o.relay.held.Data) > 0 {
			o.settle() // and what stopped the goroutine of the bus is known here
		}
		p := sent
		for p == sent || p == settle {
			p = o.sendSome(false, visit)
			o.flush()
			if p == settle {
				o.settle()
			}
		}
		if p == over {
			return
		}
	}
}

// settle waits until the broker has handled what the pump has posted.
func (o *owner) settle() {
	o.relay.loose = false
	if err := o.a.runner.Ping(o.ctx); err != nil && o.ctx.Err() == nil { // then the bus has ended, and nothing goes anywhere
		o.a.cfg.Logger.Debug("rxrpc agent: what was sent", "port", o.from.Port, "error", err)
	}
}

// claim takes the relay, unless somebody has it, who will hand it on: the owner is gone.
func (o *owner) claim() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	idle := !o.relay.busy
	o.relay.busy = true
	return idle
}

// sendSome sends until there is nothing left, or more than most messages are sent. On the goroutine of the bus nothing waits.
func (o *owner) sendSome(onLoop bool, most int) progress {
	r := &o.relay
	if r.buf == nil {
		r.buf = make([]byte, 0, connector.MaxData)
	}
	if len(r.held.Data) > 0 {
		m := r.held
		r.held = connector.Message{}
		if p := o.post(o.ctx, onLoop, m); p != sent {
			return p
		}
	}
	for ; ; most-- {
		var m connector.Message
		switch {
		case r.last:
			return over
		case most <= 0:
			return sent
		case r.outAt < len(r.out):
			x := &r.out[r.outAt]
			r.outAt++
			if x.last {
				r.last = true
				continue
			}
			m = o.message(x.k, x.data(r.buf))
		case r.at < len(r.ready):
			k := r.ready[r.at]
			if r.turn == turn {
				o.again(k) // there may be more
			}
			b, n, ok := []byte(nil), 0, r.turn < turn
			if ok {
				b, n, ok = k.event(r.buf)
			}
			if !ok {
				r.at++
				r.turn = 0
				continue
			}
			r.turn++
			o.a.counters.eventBytes.Add(uint64(n))
			m = o.message(k, b)
		default:
			if p := o.refill(); p != sent {
				return p
			}
			continue
		}
		if p := o.post(o.ctx, onLoop, m); p != sent {
			return p
		}
	}
}

// refill takes what has come to be sent.
func (o *owner) refill() progress {
	r := &o.relay
	clear(r.out)
	clear(r.ready)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ctx.Err() != nil {
		return over // and the pump is to be told
	}
	r.out, o.out = o.out, r.out[:0]
	r.ready, o.ready = o.ready, r.ready[:0]
	r.outAt, r.at, r.turn = 0, 0, 0
	for _, k := range r.ready {
		k.ready = false
	}
	switch {
	case len(r.out) > 0 || len(r.ready) > 0:
		return sent
	case r.loose:
		return settle
	}
	r.busy = false
	return done
}

// again has k looked at once more.
func (o *owner) again(k *sock) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !k.ready {
		k.ready = true
		o.ready = append(o.ready, k)
	}
}

// data makes the event's bytes in buf.
func (x *outgoing) data(buf []byte) []byte {
	b := append(x.h.Append(buf[:0]), x.body...)
	return b[:min(len(b), connector.MaxData)]
}

// message is the next event of k, or of none.
func (o *owner) message(k *sock, b []byte) connector.Message {
	m := connector.Message{ID: cbid.RxRPC, Data: b}
	if k != nil {
		k.seq++
		m.Seq = k.seq
	}
	o.a.counters.events.Add(1)
	return m
}

// post sends an event; on the goroutine of the bus it may be held instead. Elsewhere it waits while the owner does not read.
func (o *owner) post(ctx context.Context, onLoop bool, m connector.Message) progress {
	to := connector.Dest{Port: o.from.Port}
	var err error
	if onLoop {
		err = o.a.runner.PostHere(m, to)
	} else {
		o.relay.loose = o.a.runner != nil
		err = o.a.post(ctx, m, to)
	}
	switch {
	case err == nil:
		return sent
	case onLoop && errors.Is(err, connector.ErrWouldBlock):
		o.relay.held = m
		return blocked
	case errors.Is(err, connector.ErrNoPort), errors.Is(err, connector.ErrInterrupted): // the end of the port is told
	case ctx.Err() == nil && !errors.Is(err, connector.ErrClosed):
		o.a.cfg.Logger.Warn("rxrpc agent: an event", "port", o.from.Port, "error", err)
	}
	if ctx.Err() != nil {
		return over
	}
	return sent
}

// deliver sends x when the pump has ended; false when the owner is gone.
func (o *owner) deliver(ctx context.Context, x *outgoing) bool {
	return o.post(ctx, false, o.message(x.k, x.data(nil))) == sent
}

// flush lets go of events that are held to leave together.
func (o *owner) flush() {
	if c, ok := o.a.bus.(connector.Corker); ok {
		c.Flush()
	}
}

// dataAt is where the data of an event are: behind the headers, a name and a tag.
var dataAt = rxmsg.HeaderSize + 8 + rxrpc.SockaddrSize + len(rxmsg.AppendTag(nil, 0))

// event takes the next message of the socket and returns it as an event, made in buf, with the length of its data.
func (k *sock) event(buf []byte) (b []byte, n int, ok bool) {
	if tag, ok := k.note(); ok {
		return rxmsg.Header{Op: rxmsg.EventNotify, Flags: rxmsg.FlagTag, Sock: k.n, Arg: tag}.Append(buf[:0]), 0, true
	}
	r, ok := k.s.Receive(buf[dataAt:cap(buf)], rxmsg.MaxSecurity)
	if !ok {
		return nil, 0, false
	}
	h := rxmsg.Header{Op: rxmsg.EventMsg, Sock: k.n}
	c := &r.Control
	if c.HasCallID {
		h.Flags, h.Arg = rxmsg.FlagTag, c.CallID
		if r.Flags&rxrpc.MsgEOR != 0 {
			k.callEnded(c.CallID)
		}
	}
	b = buf[:0]
	if k.intercepted.Load() {
		h.Op = rxmsg.EventRx
		x := rxmsg.Rx{Mark: r.Mark, Last: r.Last, Code: r.Control.Code, Errno: r.Errno}
		if r.Mark == rxrpc.MarkData {
			x.Handle = k.handle(c.CallID, len(r.Data), r.Last)
		} else if r.Mark != rxrpc.MarkRemoteAbort && r.Mark != rxrpc.MarkLocalError {
			x.Code = 0
		}
		x.Name = r.Name.AppendRaw(k.name[:0])
		b = x.Append(h.Append(b))
	} else {
		b = h.Append(b)
		at := len(b)
		b, _ = rxmsg.AppendMsgHeader(b, 0, 0, r.Flags)
		b = r.Name.AppendRaw(b)
		name := len(b)
		b = c.AppendRaw(b)
		if r.Security != nil {
			b = rxmsg.AppendSecurity(b, r.Security)
		}
		if why, ok := rxmsg.ReasonOf(r.Err); ok {
			b = why.Append(b)
		}
		rxmsg.SetMsgLengths(b[at:], rxrpc.SockaddrSize, len(b)-name)
	}
	at := len(b)
	b = slices.Grow(b, len(r.Data))[:at+len(r.Data)]
	copy(b[at:], r.Data)
	return b, len(r.Data), true
}
