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

// outgoing is an event that the pump is to send.
type outgoing struct {
	k    *sock // nil: of no socket
	h    rxmsg.Header
	body []byte
	last bool // nothing, but the end of the pump
}

// send has the pump send an event. It may be called in the middle of the protocol.
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
	o.mu.Unlock()
	o.stir()
}

// most is how many events may wait besides those of the sockets: of requests that have failed, and of data that was taken.
func (o *owner) most() int { return 4 * o.a.cfg.Limits.Requests }

// complete completes a request from where nothing may wait. Completions do not wait for events, which
// the client may not be reading while it waits for them.
func (o *owner) complete(r *request, p rxmsg.Reply, body []byte) {
	if r.p.done() && !r.noReply() {
		o.replies.put(&o.a.wg, 0, func() { o.a.reply(o.replying(), r, p, body) })
	}
}

// stir wakes the pump.
func (o *owner) stir() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// news is SocketConfig.Notify: there is something to receive of k.
func (o *owner) news(k *sock) {
	o.mu.Lock()
	told := k.ready
	if !told {
		k.ready = true
		o.ready = append(o.ready, k)
	}
	o.mu.Unlock()
	if !told {
		o.stir()
	}
}

// turn is how many messages of a socket are sent before it is another's turn.
const turn = 64

// pump sends what is to be sent to the owner, until that is gone.
func (o *owner) pump() {
	defer close(o.pumped)
	buf := make([]byte, 0, connector.MaxData)
	var out []outgoing
	var ready []*sock
	for {
		o.mu.Lock()
		out, o.out = o.out, out[:0]
		ready, o.ready = o.ready, ready[:0]
		for _, k := range ready {
			k.ready = false
		}
		o.mu.Unlock()
		if len(out) == 0 && len(ready) == 0 {
			select {
			case <-o.wake:
				continue
			case <-o.ctx.Done():
				return
			}
		}
		for i := range out {
			if out[i].last {
				o.flush()
			}
			if out[i].last || !o.deliver(o.ctx, &out[i], buf) {
				return
			}
		}
		clear(out)
		for _, k := range ready {
			if !o.relay(k, buf) {
				return
			}
		}
		clear(ready)
		o.flush()
	}
}

// deliver sends x; false when the owner is gone.
func (o *owner) deliver(ctx context.Context, x *outgoing, buf []byte) bool {
	b := append(x.h.Append(buf[:0]), x.body...)
	if len(b) > connector.MaxData {
		b = b[:connector.MaxData]
	}
	return o.post(ctx, x.k, b)
}

// relay sends what there is to receive of k; false when the owner is gone.
func (o *owner) relay(k *sock, buf []byte) bool {
	for range turn {
		b, n, ok := k.event(buf)
		if !ok {
			return true
		}
		o.a.counters.eventBytes.Add(uint64(n))
		if !o.post(o.ctx, k, b) {
			return false
		}
	}
	o.news(k) // there may be more
	return true
}

// post sends an event; false when the owner is gone. It waits while the owner does not read.
func (o *owner) post(ctx context.Context, k *sock, b []byte) bool {
	m := connector.Message{ID: cbid.RxRPC, Data: b}
	if k != nil {
		k.seq++
		m.Seq = k.seq
	}
	o.a.counters.events.Add(1)
	err := o.a.post(ctx, m, connector.Dest{Port: o.from.Port})
	switch {
	case err == nil:
		return true
	case errors.Is(err, connector.ErrNoPort), errors.Is(err, connector.ErrInterrupted):
		return ctx.Err() == nil // the end of the port is told
	}
	if ctx.Err() == nil && !errors.Is(err, connector.ErrClosed) {
		o.a.cfg.Logger.Warn("rxrpc agent: an event", "port", o.from.Port, "error", err)
	}
	return ctx.Err() == nil
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
	r, ok := k.s.Receive(buf[dataAt:cap(buf)])
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
