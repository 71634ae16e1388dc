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

	bytes    atomic.Int64 // posted, not taken yet
	waiting  atomic.Int32 // requests
	usesKeys atomic.Bool
	wake     chan struct{} // of the pump; room for one
	pumped   chan struct{} // the pump has ended

	mu      sync.Mutex // guards what follows
	socks   map[uint32]*sock
	ready   []*sock
	out     []outgoing
	pending map[uint32]canceller // requests that can be cancelled, by seq
	gone    bool
	deaf    bool
	stop    func() // of FollowPort

	// Of the lane.
	nullKeys map[uint32]rxrpc.ClientKey
	stat     []byte // the answer to STAT that is being read
}

// A canceller gives a request up with an errno, and then tells whether it was in time. It does not block.
type canceller func(no syscall.Errno, told func(bool))

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
		socks: make(map[uint32]*sock), pending: make(map[uint32]canceller),
	}
	o.ctx, o.cancel = context.WithCancel(a.ctx)
	o.user = a.userOf(from.Cred.UID)
	o.user.owners++
	a.owners[from.Port] = o
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
		if o.ctx.Err() == nil {
			o.a.cfg.Logger.Warn("rxrpc agent: the end of a client will not be noticed", "port", o.from.Port, "error", err)
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

// end closes the sockets: the port is gone.
func (o *owner) end() {
	a := o.a
	o.mu.Lock()
	if o.gone {
		o.mu.Unlock()
		return
	}
	o.gone = true
	stop := o.stop
	socks := make([]*sock, 0, len(o.socks))
	for _, k := range o.socks {
		socks = append(socks, k)
	}
	clear(o.socks)
	o.mu.Unlock()
	o.cancel()
	for _, k := range socks {
		k.close()
	}
	if stop != nil {
		stop()
	}
	if o.usesKeys.Load() {
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
}

// shut is end when the agent stops: the owner is told.
func (o *owner) shut(ctx context.Context, f *rxmsg.Failure) {
	o.mu.Lock()
	for _, k := range o.socks {
		o.out = append(o.out, outgoing{k: k, h: rxmsg.Header{Op: rxmsg.EventClosed, Sock: k.n}, body: f.Append(nil)})
	}
	o.out = append(o.out, outgoing{last: true})
	o.mu.Unlock()
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
	l.put(&o.a.wg, 0, func() {
		defer o.waiting.Add(-1)
		if o.ctx.Err() == nil {
			do(n)
		}
	})
}

// do does what is not about a socket, in the lane.
func (o *owner) do(r *request) {
	var p rxmsg.Reply
	var body []byte
	var err error
	switch op := r.h.Op; {
	case op == rxmsg.OpSocket:
		p.Sock, body, err = o.open(r)
	case op == rxmsg.OpNullKey:
		p.Value, err = o.nullKey(r)
	case op == rxmsg.OpStat:
		p, body, err = o.doStat(r)
	case o.a.cfg.Keys == nil:
		err = errno(syscall.EOPNOTSUPP, "this agent has no keys")
	default:
		o.usesKeys.Store(true)
		p.Value, body, err = o.a.cfg.Keys.Do(o.ctx, o.from, r.h, r.body)
	}
	o.answer(r, p, body, err)
}

// answer completes a request, from a goroutine that may wait.
func (o *owner) answer(r *request, p rxmsg.Reply, body []byte, err error) {
	if err != nil {
		o.fail(r, err)
		return
	}
	o.a.reply(o.ctx, r, p, body)
}

// fail completes a request with an error, or has its sender told by an event; it does not wait.
func (o *owner) fail(r *request, err error) {
	o.a.counters.refused.Add(1)
	no, text := errnoOf(err)
	if !r.noReply() {
		o.a.reply(o.ctx, r, rxmsg.Reply{Errno: no}, []byte(text))
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

// nullKey makes a key that stands for no security.
func (o *owner) nullKey(r *request) (uint32, error) {
	const first, most = 1 << 31, 256
	if len(o.nullKeys) >= most {
		return 0, errno(syscall.ENOBUFS, "too many keys")
	}
	if o.nullKeys == nil {
		o.nullKeys = make(map[uint32]rxrpc.ClientKey)
	}
	n := first + uint32(len(o.nullKeys))
	o.mu.Lock() // sockets look it up
	o.nullKeys[n] = rxrpc.NullKey(string(r.body))
	o.mu.Unlock()
	return n, nil
}

// cancelRequest does CANCEL.
func (o *owner) cancelRequest(r *request) {
	o.mu.Lock()
	c := o.pending[uint32(r.h.Arg)]
	o.mu.Unlock()
	told := func(cancelled bool) {
		p := rxmsg.Reply{}
		if cancelled {
			p.Value = 1
		}
		o.complete(r, p, nil)
	}
	if c == nil {
		told(false)
		return
	}
	c(syscall.ECANCELED, told)
}

// cancellable registers how a request is given up; the caller unregisters it when it is done.
func (o *owner) cancellable(r *request, c canceller) {
	if r.noReply() {
		return
	}
	o.mu.Lock()
	o.pending[r.d.Msg.Seq] = c
	o.mu.Unlock()
}

func (o *owner) done(r *request) {
	if r.noReply() {
		return
	}
	o.mu.Lock()
	delete(o.pending, r.d.Msg.Seq)
	o.mu.Unlock()
}
