package rxclient

import (
	"math"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/internal/remote"
	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A farCall is a call that the agent runs. The owner of the engine has it.
type farCall struct {
	e       *engine
	s       *farSocket // nil while the agent is away
	tag     uint64     // the agent's
	client  bool
	peer    netip.AddrPort
	service uint16
	userTag any
	sec     *proto.SecurityInfo // of a service's: who calls; nil if that is not proven
	begin   begin

	rx      []*proto.Buf // that has come, from rxHead on
	rxHead  int
	rxLast  bool  // there is no more after rx
	sizes   []int // of what Take has given and Consumed has not been told of
	grant   int   // bytes consumed that the agent has not been told of
	room    int   // bytes that may be posted
	sent    bool  // something was: the agent knows of it
	sentEnd bool
	short   bool // Send could not take all
	timer   *time.Timer

	news     proto.What
	queued   bool // in e.events
	waits    bool // in the waiting of its farClient
	ended    bool
	released bool
	result   proto.Result
}

// begin is what the first message of a client's call says.
type begin struct {
	upgrade, exclusive, hasLength bool
	length                        int64
	timeouts                      proto.Timeouts
}

var _ remote.Call = (*farCall)(nil)

// over is in the place of a call of which the agent's last word is still to come.
var over = new(farCall)

func (e *engine) newCall() *farCall {
	e.live++
	if n := len(e.free); n > 0 {
		c := e.free[n-1]
		e.free = e.free[:n-1]
		return c
	}
	return &farCall{e: e}
}

// recycle gives back a call that nobody knows any more.
func (c *farCall) recycle() {
	if c.queued || c.waits { // it comes by there, and goes then
		return
	}
	c.drop()
	*c = farCall{e: c.e, rx: c.rx[:0], sizes: c.sizes[:0]}
	if len(c.e.free) < 512 {
		c.e.free = append(c.e.free, c)
	}
}

// drop forgets what was not read.
func (c *farCall) drop() {
	for _, b := range c.rx[c.rxHead:] {
		b.Release()
	}
	clear(c.rx)
	c.rx, c.rxHead = c.rx[:0], 0
}

func (c *farCall) tell(w proto.What) {
	if c.released {
		return
	}
	c.news |= w
	if !c.queued {
		c.queued = true
		c.e.events = append(c.e.events, c)
	}
}

func (c *farCall) Tagged() any             { return c.userTag }
func (c *farCall) SetTag(tag any)          { c.userTag = tag }
func (c *farCall) Peer() netip.AddrPort    { return c.peer }
func (c *farCall) Service() wire.ServiceID { return wire.ServiceID(c.service) }
func (c *farCall) Result() proto.Result    { return c.result }

// Security is of remote.Call. What a client's call is secured by the agent knows.
func (c *farCall) Security() proto.SecurityInfo {
	if c.sec != nil {
		return *c.sec
	}
	return proto.SecurityInfo{Type: 1}
}

// SetTxLength is of remote.Call.
func (c *farCall) SetTxLength(n int64) error {
	switch {
	case c.ended:
		return proto.ErrEnded
	case c.begin.hasLength || c.sent && c.client || c.sentEnd:
		return proto.ErrAnnounced
	}
	c.begin.length, c.begin.hasLength = n, true
	return nil
}

// Send is of remote.Call: the data goes into messages, as much as there is room for.
func (c *farCall) Send(_ proto.Time, p []byte, more bool) (n int, err error) {
	switch {
	case c.ended:
		return 0, proto.ErrEnded
	case c.sentEnd:
		return 0, proto.ErrPhase
	case !c.client && !c.rxLast:
		return 0, proto.ErrNotNow
	case c.begin.hasLength && (int64(len(p)) > c.begin.length || !more && int64(len(p)) < c.begin.length):
		return 0, proto.ErrTooMuch
	case more && len(p) == 0:
		return 0, nil
	}
	for {
		if c.s == nil || c.room == 0 && len(p) > 0 || c.e.out.full() {
			c.short = true
			if n == 0 {
				return 0, proto.ErrFull
			}
			return n, nil
		}
		k := c.message(p[n:], more)
		n += k
		c.room -= k
		if c.begin.hasLength {
			c.begin.length -= int64(k)
		}
		if n == len(p) {
			c.sentEnd = !more
			return n, nil
		}
		if c.room == 0 {
			c.short = true
			return n, nil
		}
	}
}

// message makes a message of what fits of p, which ends the phase if it is all and there is no more, and returns how
// much that is.
func (c *farCall) message(p []byte, more bool) int {
	o := &c.e.out
	h := rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply, Sock: c.s.number, Arg: c.tag}
	if c.sent || !c.client {
		h.Flags |= rxmsg.FlagFurther
	}
	b := h.Append(o.cur.mem)
	at := len(b)
	ctl := rxrpc.Control{CallID: c.tag, HasCallID: true}
	var name rxrpc.Addr
	if !c.sent {
		if c.client {
			name = rxrpc.Addr{Service: c.service, Addr: c.peer}
		}
		c.announce(&ctl)
	}
	b, _ = rxmsg.AppendMsgHeader(b, 0, 0, 0) // filled in below
	start := len(b)
	if name.Addr.IsValid() {
		b = name.AppendRaw(b)
	}
	nameLen := len(b) - start
	b = ctl.AppendRaw(b)
	ctlLen := len(b) - start - nameLen
	k := min(len(p), c.room, rxmsg.MaxData(nameLen, ctlLen))
	flags := rxrpc.MsgFlags(0)
	if more || k < len(p) {
		flags = rxrpc.MsgMore
	}
	_, _ = rxmsg.AppendMsgHeader(b[:at], nameLen, ctlLen, flags)
	o.cur.mem = append(b, p[:k]...)
	o.sent(c.s)
	c.sent = true
	return k
}

// announce puts what the application wants of the call into its first message.
func (c *farCall) announce(ctl *rxrpc.Control) {
	ctl.Upgrade, ctl.Exclusive = c.begin.upgrade, c.begin.exclusive
	ctl.TxLength, ctl.HasTxLength = c.begin.length, c.begin.hasLength
	t := c.begin.timeouts
	if t.Hard <= 0 && t.Idle <= 0 && t.Normal <= 0 {
		return
	}
	up := func(d, unit time.Duration) time.Duration { return (max(d, 0) + unit - 1) / unit * unit }
	ctl.HasTimeouts = true
	ctl.Timeouts = rxrpc.Timeouts{
		Hard: min(up(t.Hard, time.Second), math.MaxInt32/1000*time.Second), Idle: min(up(t.Idle, time.Millisecond), time.Hour), Normal: min(up(t.Normal, time.Millisecond), time.Hour),
	}
}

// watch ends a client's call when its hard time-out has passed, which the agent counts in seconds, and from later on.
func (c *farCall) watch() {
	if c.begin.timeouts.Hard <= 0 {
		return
	}
	e, tag := c.e, c.tag
	c.timer = time.AfterFunc(c.begin.timeouts.Hard, func() {
		e.run(func(proto.Time) {
			if c.tag == tag && !c.ended {
				c.abort(proto.Result{Completion: proto.LocallyAborted, Code: wire.CallTimeout, Errno: errnoTime, Why: "the call took too long"})
			}
		})
	})
}

// Take is of remote.Call.
func (c *farCall) Take() (b *proto.Buf, last, ok bool) {
	if c.rxHead == len(c.rx) {
		return nil, false, false
	}
	b = c.rx[c.rxHead]
	c.rx[c.rxHead] = nil
	if c.rxHead++; c.rxHead == len(c.rx) {
		c.rx, c.rxHead = c.rx[:0], 0
	}
	c.sizes = append(c.sizes, len(b.Bytes()))
	return b, c.rxLast && len(c.rx) == 0, true
}

// Consumed is of remote.Call.
func (c *farCall) Consumed(_ proto.Time, packets int) {
	k := min(packets, len(c.sizes))
	for _, n := range c.sizes[:k] {
		c.grant += n
	}
	c.sizes = c.sizes[:copy(c.sizes, c.sizes[k:])]
	if c.ended || c.rxLast || c.s == nil || c.grant < c.s.grant {
		return
	}
	o := &c.e.out
	b := rxmsg.Header{Op: rxmsg.OpWindow, Flags: rxmsg.FlagNoReply, Sock: c.s.number, Arg: c.tag}.Append(o.cur.mem)
	o.cur.mem = rxmsg.AppendU32(b, uint32(c.grant))
	o.sent(c.s)
	c.grant = 0
}

// Abort is of remote.Call.
func (c *farCall) Abort(_ proto.Time, code wire.AbortCode) {
	c.abort(proto.Result{Completion: proto.LocallyAborted, Code: code, Errno: errnoAborted})
}

func (c *farCall) abort(r proto.Result) {
	if c.ended {
		return
	}
	if c.s != nil && (c.sent || !c.client) {
		c.s.abortTag(c.tag, r.Code)
	}
	if c.waits {
		r.Err = c.e.away // what it has waited for in vain
	}
	c.fail(r)
}

// abortTag has the agent abort a call.
func (s *farSocket) abortTag(tag uint64, code wire.AbortCode) {
	if s.gone.Load() {
		return
	}
	o := &s.e.out
	b := rxmsg.Header{Op: rxmsg.OpSendmsg, Flags: rxmsg.FlagNoReply, Sock: s.number, Arg: tag}.Append(o.cur.mem)
	if code == 0 {
		code = wire.UserAbort
	}
	ctl := rxrpc.Control{CallID: tag, HasCallID: true, Command: rxrpc.CtlAbort, Code: int32(code)}
	raw := ctl.AppendRaw(nil)
	b, _ = rxmsg.AppendMsgHeader(b, 0, len(raw), 0)
	o.cur.mem = append(b, raw...)
	o.sent(s)
}

// fail ends the call here. Of one that the agent knows the last word is still to come.
func (c *farCall) fail(r proto.Result) {
	if c.ended {
		return
	}
	c.end(r)
	if s := c.s; s != nil {
		delete(s.calls, c.tag)
		if (c.sent || !c.client) && !s.gone.Load() {
			s.calls[c.tag] = over
		}
	}
	if c.released {
		c.recycle()
	}
}

// end stores how it ended.
func (c *farCall) end(r proto.Result) {
	c.ended, c.result = true, r
	c.e.live--
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if r.Failed() {
		c.drop()
		c.e.stats.CallsFailed++
	} else {
		c.e.stats.CallsOK++
	}
	c.tell(proto.Ended)
}

// Release is of remote.Call, with the rules of package proto.
func (c *farCall) Release(proto.Time) {
	if c.released {
		return
	}
	c.news = 0
	switch {
	case c.ended:
		c.released = true
		c.recycle()
	case !c.client && c.sentEnd:
		c.released = true
		c.drop()
	default:
		c.abort(proto.Result{Completion: proto.LocallyAborted, Code: wire.CallDead, Errno: errnoAborted, Why: "released"})
		c.news, c.released = 0, true
		c.recycle()
	}
}
