package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// Abort codes of the applications.
const (
	clientAbort wire.AbortCode = 1001
	serverAbort wire.AbortCode = 1002
	rejectAbort wire.AbortCode = 1003
	rudeAbort   wire.AbortCode = 1004 // to calls that nobody here has made
)

// chargeTag is what services are charged with.
type chargeTag struct{}

// A callID is what a call is known by on the wire.
type callID struct {
	epoch  wire.Epoch
	cid    wire.CID
	number wire.CallNumber
}

func idOf(c *proto.Call) callID {
	e, cid, n := c.ID()
	return callID{e, cid, n}
}

func callName(c *proto.Call) string {
	id := idOf(c)
	return fmt.Sprintf("%v/%v#%d", id.epoch, id.cid, id.number)
}

// A half is one side of a call: an application that sends one stream and receives
// another.
type half struct {
	*run
	host   *host
	life   int // of the host
	index  int // of the call in the scenario
	spec   *CallSpec
	call   *proto.Call
	client bool

	out, in       stream
	outLen, inLen int
	outN, inN     int
	queued        bool // all of out, and its end
	gotEnd        bool
	resting       bool // between two pieces
	accepted      bool

	ended, released, gone bool
	result                proto.Result
	began, endedAt        proto.Time
}

func (x *half) name() string {
	side := "server"
	if x.client {
		side = "client"
	}
	return fmt.Sprintf("call %d at its %s (host %d)", x.index, side, x.host.id)
}

// usable says whether the call may still be touched.
func (x *half) usable() bool { return !x.released && !x.gone && !x.ended }

// later does something with the call, if it is still there then.
func (x *half) later(d time.Duration, do func()) {
	x.clock.after(dur(d), func() {
		if x.usable() {
			do()
			x.host.pump()
		}
	})
}

// begin makes the client's half of a call.
func (r *run) begin(i int) {
	spec := &r.sc.Calls[i]
	h := r.hosts[spec.From]
	r.unstarted--
	if h.ep == nil {
		r.follow(i)
		return // nobody is there to call
	}
	p := proto.CallParams{
		Peer: r.hosts[spec.To].outside(), Service: wire.ServiceID(spec.Service), Upgrade: spec.Upgrade, Exclusive: spec.Exclusive,
		Timeouts: proto.Timeouts{Hard: spec.Hard},
	}
	if spec.Sealed {
		p.Security = sealed{key: sealedKey}
	}
	if spec.TxLength {
		p.TxLength, p.HasTxLength = int64(spec.Request), true
	}
	x := &half{
		run: r, host: h, life: h.life, index: i, spec: spec, client: true, out: requestOf(i), outLen: spec.Request,
		in: replyOf(i), inLen: spec.Reply, began: r.clock.now,
	}
	p.Tag = x
	c, err := h.ep.NewCall(r.clock.now, &p)
	if err != nil {
		if !errors.Is(err, proto.ErrClosed) || !r.sc.disturbed() {
			r.fail("new call", "%s: %v", x.name(), err)
		}
		r.follow(i)
		return
	}
	x.call = c
	h.calls[c] = x
	r.clients[i] = x
	r.order = append(r.order, x)
	r.trace.line(r.clock.now, "     %s begins", x.name())
	x.write()
	if spec.ClientAborts > 0 {
		x.later(spec.ClientAborts, func() { x.call.Abort(x.clock.now, clientAbort) })
	}
	if spec.Abandon > 0 {
		x.later(spec.Abandon, x.release)
	}
	h.pump()
}

// follow begins the calls that wait for the end of call i.
func (r *run) follow(i int) {
	if r.followed[i] {
		return
	}
	r.followed[i] = true
	for k := range r.sc.Calls {
		if r.sc.Calls[k].After == i+1 {
			r.clock.after(dur(r.sc.Calls[k].At), func() { r.begin(k) })
		}
	}
}

func (x *half) release() {
	if x.client {
		x.follow(x.index)
	}
	if x.opt.Break == BreakLeak && x.index == 0 {
		x.released = true
		return
	}
	x.released = true
	delete(x.host.calls, x.call)
	x.call.Release(x.clock.now)
}

// event tells an application what has happened to its call.
func (h *host) event(ev proto.Event) {
	c := ev.Call
	x := h.calls[c]
	if ev.What.Has(proto.Arrived) {
		if x != nil {
			h.fail("arrived twice", "%s", x.name())
			return
		}
		x = h.arrived(c)
	}
	if x == nil {
		h.fail("events", "%v of a call that was released", ev.What)
		return
	}
	h.trace.line(h.clock.now, "     %s: event %#x, state %d", x.name(), uint8(ev.What), c.State())
	if ev.What.Has(proto.Connected) && x.client {
		id := idOf(c)
		if other, ok := h.ids[id]; ok && other != x.index {
			h.fail("identity", "%s has the id of call %d", x.name(), other)
		}
		h.ids[id] = x.index
	}
	if ev.What.Has(proto.Readable) && x.usable() {
		x.read()
	}
	if ev.What.Has(proto.Writable) && x.usable() {
		x.write()
	}
	if ev.What.Has(proto.Ended) && !x.released {
		x.finish()
	}
}

// arrived makes the server's half of a call.
func (h *host) arrived(c *proto.Call) *half {
	x := &half{run: h.run, host: h, life: h.life, index: -1, call: c, began: h.clock.now}
	h.calls[c] = x
	h.order = append(h.order, x)
	if _, ok := c.Tag.(chargeTag); ok {
		for _, s := range h.sc.Hosts[h.id].Services {
			if s.Accept == uint8(proto.AcceptCharge) {
				if err := h.services[s.ID].Charge(chargeTag{}); err != nil {
					h.fail("charge", "%v", err)
				}
			}
		}
	}
	i, known := h.ids[idOf(c)]
	if !known || h.sc.Calls[i].To != h.id {
		if h.sc.Rubbish == 0 && !h.sc.NoChecksum {
			h.fail("foreign", "host %d has call %s, which nobody made", h.id, callName(c))
		}
		x.spec = &CallSpec{}
		c.Abort(h.clock.now, rudeAbort)
		return x
	}
	x.index, x.spec = i, &h.sc.Calls[i]
	x.out, x.in, x.outLen, x.inLen = replyOf(i), requestOf(i), x.spec.Reply, x.spec.Request
	spec := x.spec
	if want := uint16(c.Service()); want != spec.Service && !(spec.Upgrade && want == betterService) {
		h.fail("service", "%s is of service %d", x.name(), want)
	}
	if proto.Accept(h.acceptOf(spec.Service)) != proto.AcceptManual {
		x.execute()
		return x
	}
	x.later(spec.Think/2, func() {
		switch {
		case spec.RejectByAbort, spec.RejectByBusy:
			code := wire.AbortCode(0)
			if spec.RejectByAbort {
				code = rejectAbort
			}
			if err := c.Reject(h.clock.now, code); err != nil {
				h.fail("reject", "%s: %v", x.name(), err)
			}
			x.released = true
			delete(h.calls, c)
		default:
			if err := c.Accept(h.clock.now, x); err != nil {
				h.fail("accept", "%s: %v", x.name(), err)
				return
			}
			x.execute()
			x.read()
		}
	})
	return x
}

func (h *host) acceptOf(service uint16) uint8 {
	for _, s := range h.sc.Hosts[h.id].Services {
		if s.ID == service {
			return s.Accept
		}
	}
	return 0
}

// execute counts that the server has begun to work on a call.
func (x *half) execute() {
	x.accepted = true
	key := [3]int{x.index, x.host.id, x.life}
	if x.executed[key]++; x.executed[key] > 1 && !x.sc.NoChecksum {
		x.fail("exactly once", "%s is executed again", x.name())
	}
	if s := x.servers[x.index]; s == nil || !s.gotEnd {
		x.servers[x.index] = x // not a later life that gets only the rest of it
	}
	if x.opt.Break == BreakTwice {
		x.executed[key]++
	}
	if x.spec.ServerAborts > 0 {
		x.later(x.spec.ServerAborts, func() { x.call.Abort(x.clock.now, serverAbort) })
	}
}

// write sends as much as the call takes.
func (x *half) write() {
	if !x.client && !x.gotEnd {
		return
	}
	chunk := x.spec.RequestChunk
	if !x.client {
		chunk = x.spec.ReplyChunk
	}
	for x.outN < x.outLen {
		b := x.scratch[:min(max(chunk, 1), x.outLen-x.outN, len(x.scratch))]
		x.out.fill(b, x.outN)
		more := x.outN+len(b) < x.outLen || x.spec.TailEmpty
		n, err := x.call.Send(x.clock.now, b, more)
		x.outN += n
		if err != nil {
			x.sendFailed(err)
			return
		}
		if n < len(b) {
			return
		}
		x.queued = !more
	}
	if !x.queued {
		_, err := x.call.Send(x.clock.now, nil, false)
		switch {
		case errors.Is(err, proto.ErrFull):
			return
		case err != nil:
			x.sendFailed(err)
			return
		}
		x.queued = true
	}
	if !x.client && x.spec.ReleaseEarly {
		x.release()
	}
}

func (x *half) sendFailed(err error) {
	if !errors.Is(err, proto.ErrEnded) {
		x.fail("send", "%s at byte %d of %d: %v", x.name(), x.outN, x.outLen, err)
	}
}

// read takes what is there, one piece at a time if the application is slow.
func (x *half) read() {
	rest := x.spec.ServerReads
	if x.client {
		rest = x.spec.ClientReads
	}
	for !x.resting {
		if !x.take() {
			return
		}
		if rest > 0 {
			x.resting = true
			x.later(rest, func() {
				x.resting = false
				x.read()
			})
		}
	}
}

// take takes a piece, and reports whether more may be there.
func (x *half) take() bool {
	b, last, ok := x.call.Take()
	if !ok {
		return false
	}
	if x.gotEnd {
		x.fail("data", "%s: data after the last", x.name())
	}
	if b != nil {
		data := b.Bytes()
		if !x.sc.NoChecksum && x.index >= 0 {
			if at := x.in.differs(data, x.inN); at >= 0 {
				x.fail("data", "%s: byte %d of %d differs", x.name(), at, x.inLen)
			}
		}
		x.inN += len(data)
		packets := b.Packets()
		for i := range data {
			data[i] = 0x5a
		}
		b.Release()
		x.call.Consumed(x.clock.now, packets)
	}
	if !last {
		return true
	}
	x.gotEnd = true
	if x.inN != x.inLen && !x.sc.NoChecksum && x.index >= 0 {
		x.fail("data", "%s: %d bytes instead of %d", x.name(), x.inN, x.inLen)
	}
	if !x.client && x.index >= 0 && !x.spec.NoAnswer && x.usable() {
		x.later(x.spec.Think, x.write)
	}
	return false
}

// finish notes how the call has ended, and lets go of it.
func (x *half) finish() {
	x.result = x.call.Result()
	if x.result.Completion == proto.Running {
		x.fail("ended", "%s has ended and is running", x.name())
	}
	if x.result.Completion == proto.Succeeded {
		for x.take() {
			continue
		}
		switch {
		case x.sc.NoChecksum || x.index < 0:
		case x.client && !x.gotEnd:
			x.fail("success", "%s succeeded with %d bytes of %d", x.name(), x.inN, x.inLen)
		case !x.client && !x.queued:
			x.fail("success", "%s succeeded after %d bytes of %d", x.name(), x.outN, x.outLen)
		}
	}
	x.ended, x.endedAt = true, x.clock.now
	x.release()
}
