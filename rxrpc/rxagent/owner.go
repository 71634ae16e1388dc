package rxagent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// An owner is a port of the bus that has sent requests, with its sockets. It is there until the port is gone.
type owner struct {
	a       *Agent
	from    connector.From
	user    *user
	ctx     context.Context // ends with the owner
	cancel  context.CancelFunc
	lane    lane // for what is not about a socket
	replies lane

	bytes   atomic.Int64  // of what was posted and is not taken yet, with what each message costs
	waiting atomic.Int32  // requests
	cancels atomic.Int32  // CANCELs that are not answered
	wake    chan struct{} // of the pump; room for one
	pumped  chan struct{} // the pump has ended
	round   func()        // onLoop, bound once
	relay   relay

	mu      sync.Mutex // guards what follows
	socks   map[uint32]*sock
	closing int // sockets that CLOSE has taken out of socks and that linger
	ready   []*sock
	out     []outgoing
	pending map[uint32]*pending // requests that can be given up, by seq
	gone    bool
	deaf    bool
	why     error           // it is gone although its port is not; nil: that is
	stop    func()          // of FollowPort
	bye     context.Context // when it is gone: how long answers to what had waited are tried
	keyed   bool            // Keys was asked for it, and has to be told of its end
	asking  int             // who asks Keys right now

	// Of the lane.
}

// ownerOf returns the owner of a port, and makes it if there is none; nil when the agent closes.
func (a *Agent) ownerOf(from connector.From) *owner {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.owners[from.Port]; o != nil && o.from.Cred == from.Cred {
		return o
	}
	if a.closed {
		return nil
	}
	if old := a.owners[from.Port]; old != nil { // the port is another's now, and word of its end is on its way
		a.wg.Go(old.end)
	}
	o := &owner{
		a: a, from: connector.From{Port: from.Port, Cred: from.Cred}, wake: make(chan struct{}, 1), pumped: make(chan struct{}),
		socks: make(map[uint32]*sock), pending: make(map[uint32]*pending),
	}
	o.ctx, o.cancel = context.WithCancel(a.ctx)
	o.user = a.userOf(from.Cred.UID)
	o.user.owners++
	a.owners[from.Port] = o
	o.round = o.onLoop
	a.wg.Go(o.pump)
	o.lane.put(&a.wg, 0, o.follow)
	return o
}

// follow has the owner end with its port.
func (o *owner) follow() {
	stop, err := connector.FollowPort(o.ctx, o.a.bus, o.from.Port, func() {
		o.a.mu.Lock()
		defer o.a.mu.Unlock()
		if !o.a.closed { // or Close does it
			o.a.wg.Go(o.end)
		}
	})
	if err != nil {
		if o.ctx.Err() == nil { // nobody would tell when it is gone, and what it has would stay
			o.a.cfg.Logger.Warn("rxrpc agent: a client whose end would not be noticed is refused", "port", o.from.Port, "error", err)
			o.giveUp(errno(syscall.ESHUTDOWN, "the end of this port could not be noticed: "+err.Error()))
		}
		return
	}
	o.mu.Lock()
	o.stop = stop
	gone := o.gone
	o.mu.Unlock()
	if gone {
		stop()
	}
}

// giveUp ends an owner whose port is there: it is told of each socket, if it reads within a moment.
func (o *owner) giveUp(why error) {
	o.mu.Lock()
	if o.why == nil {
		o.why = why
	}
	o.mu.Unlock()
	socks := o.close()
	o.a.wg.Go(func() {
		<-o.pumped // what k.seq is of
		no, text := errnoOf(why)
		f := rxmsg.Failure{Errno: no, Text: text}
		for _, k := range socks {
			x := outgoing{k: k, h: rxmsg.Header{Op: rxmsg.EventClosed, Sock: k.n}, body: f.Append(nil)}
			if !o.deliver(o.replying(), &x) {
				return
			}
		}
		o.flush()
	})
}

// end closes the sockets: the port is gone.
func (o *owner) end() { o.close() }

// close closes the sockets, and returns them; what waits is refused from now on.
func (o *owner) close() []*sock {
	a := o.a
	o.mu.Lock()
	if o.gone {
		o.mu.Unlock()
		return nil
	}
	o.gone = true
	stop := o.stop
	socks := make([]*sock, 0, len(o.socks))
	for _, k := range o.socks {
		socks = append(socks, k)
	}
	clear(o.socks)
	tell := o.keyed && o.asking == 0
	bye, over := context.WithTimeout(context.WithoutCancel(o.ctx), farewell)
	context.AfterFunc(bye, over)
	o.bye = bye
	o.cancel() // with gone: whoever sees one sees the other
	o.mu.Unlock()
	a.reading.drop(o)
	for _, k := range socks {
		k.close()
	}
	if stop != nil {
		stop()
	}
	if tell {
		a.cfg.Keys.Gone(o.from)
	}
	a.mu.Lock()
	if a.owners[o.from.Port] == o {
		delete(a.owners, o.from.Port)
	}
	o.user.sockets -= len(socks)
	if o.user.owners--; o.user.owners == 0 {
		delete(a.users, o.from.Cred.UID)
	}
	a.mu.Unlock()
	return socks
}

// replying is how long a completion is tried: as long as the owner is there, and a moment longer.
func (o *owner) replying() context.Context {
	if o.ctx.Err() == nil {
		return o.ctx
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bye == nil { // the agent stops
		return o.ctx
	}
	return o.bye
}

// errGone is what requests are refused by that had waited when the owner's end came.
func (o *owner) errGone() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.why != nil {
		return o.why
	}
	return errno(syscall.ESHUTDOWN, "the sockets of this port were closed")
}

// ask lets Keys be asked for the owner until answered is called: Gone comes after that.
func (o *owner) ask() (answered func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone {
		return nil, errno(syscall.ESHUTDOWN, "the sockets of this port were closed")
	}
	o.keyed = true
	o.asking++
	return func() {
		o.mu.Lock()
		o.asking--
		tell := o.gone && o.asking == 0
		o.mu.Unlock()
		if tell {
			o.a.cfg.Keys.Gone(o.from)
		}
	}, nil
}

// shut is end when the agent stops: the owner is told.
func (o *owner) shut(ctx context.Context, f *rxmsg.Failure) {
	o.mu.Lock()
	for _, k := range o.socks {
		o.out = append(o.out, outgoing{k: k, h: rxmsg.Header{Op: rxmsg.EventClosed, Sock: k.n}, body: f.Append(nil)})
	}
	o.out = append(o.out, outgoing{last: true})
	o.stir()
	select {
	case <-o.pumped:
	case <-ctx.Done():
	}
	o.end()
}

// sock returns a socket of the owner; nil if it has none of that number.
func (o *owner) sock(n uint32) *sock {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.socks[n]
}

// handle does a request, in the callback.
func (o *owner) handle(r *request) {
	op := r.h.Op
	switch {
	case op == rxmsg.OpCancel:
		o.cancelRequest(r.head())
		return
	case op == rxmsg.OpSocket, op == rxmsg.OpStat, op == rxmsg.OpNullKey, op.Key():
		o.later(r, &o.lane, o.do)
		return
	case op.String()[0] == '0' || op.Event():
		o.fail(r, errno(syscall.EOPNOTSUPP, fmt.Sprintf("operation %v", op)))
		return
	}
	k := o.sock(r.h.Sock)
	if k == nil {
		o.fail(r, noSocket(r.h.Sock))
		return
	}
	if k.quick(r) {
		return
	}
	o.later(r, &k.lane, k.do)
}

// later puts a request into a lane.
func (o *owner) later(r *request, l *lane, do func(*request)) {
	if o.waiting.Add(1) > int32(o.a.cfg.Limits.Requests) {
		o.waiting.Add(-1)
		o.fail(r, errno(syscall.ENOBUFS, "too many requests wait"))
		return
	}
	n := r.detach()
	n.leave = sync.OnceFunc(func() { o.waiting.Add(-1) })
	p := o.pend(n)
	if r.h.Op != rxmsg.OpClose { // which is done, however little it lingers
		p.by(func(no syscall.Errno, told func(bool)) {
			in := p.done()
			if in {
				o.refuse(n, errno(no, "gave up waiting for its turn"))
			}
			told(in)
		})
	}
	l.put(&o.a.wg, 0, func() {
		defer n.leave()
		switch {
		case !p.start():
		case o.ctx.Err() != nil:
			o.fail(n, o.errGone())
		default:
			do(n)
		}
	})
}

// do does what is not about a socket, in the lane.
func (o *owner) do(r *request) {
	var p rxmsg.Reply
	var body []byte
	var err error
	if !r.h.Op.Key() {
		r.p.by(tooLate)
	}
	switch op := r.h.Op; {
	case op == rxmsg.OpSocket:
		p.Sock, body, err = o.open(r)
	case op == rxmsg.OpNullKey:
		p.Value = nullKey
	case op == rxmsg.OpStat:
		p, body, err = o.doStat(r)
	default:
		p.Value, body, err = o.keyOp(r)
	}
	o.answer(r, p, body, err)
}

// keyOp does what is about keys.
func (o *owner) keyOp(r *request) (value uint32, body []byte, err error) {
	if o.a.cfg.Keys == nil {
		return 0, nil, errno(syscall.EOPNOTSUPP, "this agent has no keys")
	}
	answered, err := o.ask()
	if err != nil {
		return 0, nil, err
	}
	defer answered()
	ctx, over := o.until(r)
	value, body, err = o.a.cfg.Keys.Do(ctx, o.from, r.h, r.body)
	return value, body, over(err)
}

// answer completes a request, from a goroutine that may wait.
func (o *owner) answer(r *request, p rxmsg.Reply, body []byte, err error) {
	if err != nil {
		o.fail(r, err)
		return
	}
	if r.left(); r.p.done() {
		o.a.reply(o.replying(), r, p, body)
	}
}

// fail completes a request with an error, or has its sender told by an event; it does not wait.
func (o *owner) fail(r *request, err error) {
	if r.left(); r.p.done() {
		o.refuse(r, err)
	}
}

// refuse is fail for what nobody else can complete any more.
func (o *owner) refuse(r *request, err error) {
	o.a.counters.refused.Add(1)
	no, text := errnoOf(err)
	if !r.noReply() {
		o.a.reply(o.replying(), r, rxmsg.Reply{Errno: no}, []byte(text))
		return
	}
	f := rxmsg.Failure{Errno: no, Op: r.h.Op, Seq: r.d.Msg.Seq, Text: text}
	h := rxmsg.Header{Op: rxmsg.EventError, Sock: r.h.Sock}
	var e *rxrpc.SocketError
	switch {
	case errors.As(err, &e) && e.Ended && !e.NoCall:
		return // the end of the call is told
	case errors.As(err, &e) && e.HasCallID:
		h.Flags, h.Arg = rxmsg.FlagTag, e.CallID
		f.HasTag, f.NoCall = true, e.NoCall
	case r.h.Op == rxmsg.OpWindow, r.h.Op == rxmsg.OpSendData:
		h.Flags, h.Arg = rxmsg.FlagTag, r.h.Arg
		f.HasTag = true
	}
	k := o.sock(r.h.Sock)
	if k == nil {
		h.Sock = 0
	}
	o.send(outgoing{k: k, h: h, body: f.Append(nil)})
}

// nullKey is the number of the key that stands for no security: there is nothing by which two of them would differ.
const nullKey = 1 << 31
