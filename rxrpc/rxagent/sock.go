package rxagent

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// A sock is a socket of an owner.
type sock struct {
	o    *owner
	n    uint32
	s    *rxrpc.Socket
	kern *rxrpc.KernelService
	lane lane

	inet        bool
	window      int
	intercepted atomic.Bool
	bound       atomic.Bool // it has the endpoint for all it may send
	allowed     rxrpc.Addr  // the last that Policy has allowed to call; of the callback and of the lane, which are never both at work
	ready       bool        // owner.mu: in its queue

	// Of who relays.
	seq  uint32
	name [rxrpc.SockaddrSize]byte

	mu      sync.Mutex // guards what follows
	posting map[uint64]*posting
	kcalls  map[uint64]*rxrpc.KernelCall
	handles handles
	begins  map[uint64]*begin // BEGIN_CALLs at work
	ends    int               // of requests and replies, that the endpoint has not taken
	ended   chan struct{}     // closed when there are none; nil if nobody waits
	server  bool              // it has listened
	noted   map[uint64]noting // calls that there is news of
	notes   []uint64          // those that it is to be told of
}

// open does SOCKET.
func (o *owner) open(r *request) (n uint32, body []byte, err error) {
	p, err := rxmsg.ParseSocket(r.body)
	if err != nil {
		return 0, nil, err
	}
	if r.h.Arg != rxrpc.Inet && r.h.Arg != rxrpc.Inet6 {
		return 0, nil, errno(syscall.EPROTONOSUPPORT, fmt.Sprintf("transport of family %d", r.h.Arg))
	}
	a := o.a
	if err := o.addSocket(); err != nil {
		return 0, nil, err
	}
	const least, most = 1 << 10, 64 << 20
	if p.Window == 0 {
		p.Window = uint32(a.cfg.ReceiveWindow)
	}
	p.Window = min(max(p.Window, least), most)
	k := &sock{o: o, n: a.lastSock.Add(1), inet: r.h.Arg == rxrpc.Inet, window: int(p.Window), posting: make(map[uint64]*posting)}
	cfg := rxrpc.SocketConfig{
		Endpoint: a.cfg.Endpoint, Pool: a.pool, Window: k.window, Notify: func() { o.news(k) }, MaxBacklog: a.cfg.MaxBacklog,
		MaxCalls: a.cfg.Limits.Calls, BusyEnds: p.BusyEnds, OwnPort: p.OwnPort, AutoAccept: p.AutoAccept, Secured: p.Secured,
		Calls: callQuota{o}, Group: 1 + uint64(o.from.Cred.UID),
	}
	if a.cfg.Keys != nil {
		answered, err := o.ask()
		if err != nil {
			o.dropSocket()
			return 0, nil, err
		}
		cfg.Keys = a.cfg.Keys.Source(o.from)
		answered()
	}
	if k.s, err = rxrpc.NewSocket(int(r.h.Arg), &cfg); err == nil {
		k.kern = rxrpc.NewKernelService(k.s)
		o.mu.Lock()
		gone := o.gone
		if !gone {
			o.socks[k.n] = k
		}
		o.mu.Unlock()
		if gone {
			k.close()
			err = o.errGone()
		}
	}
	if err != nil {
		o.dropSocket()
		return 0, nil, err
	}
	a.cfg.Logger.Debug("rxrpc agent: socket", "sock", k.n, "port", o.from.Port, "uid", o.from.Cred.UID, "pid", o.from.Cred.PID)
	return k.n, p.Append(nil), nil
}

// close closes the socket; what was submitted completes with EBADF.
func (k *sock) close() { _ = k.s.Close() }

// do does a request, in the lane.
func (k *sock) do(r *request) {
	switch r.h.Op {
	case rxmsg.OpSendmsg:
		k.sendmsg(r)
		return
	case rxmsg.OpSendData:
		k.sendData(r)
		return
	case rxmsg.OpBeginCall:
		k.beginCall(r)
		return
	case rxmsg.OpClose: // which may be given up while it lingers
	default:
		r.p.by(tooLate)
	}
	var p rxmsg.Reply
	body, err := k.socketOp(r, &p)
	k.o.answer(r, p, body, err)
}

// socketOp does what is done when it returns.
func (k *sock) socketOp(r *request, p *rxmsg.Reply) (body []byte, err error) {
	s := k.s
	switch r.h.Op {
	case rxmsg.OpClose:
		return nil, k.doClose(r)
	case rxmsg.OpBind:
		return k.bind(r.body)
	case rxmsg.OpConnect:
		a, err := k.address(r.body)
		if err == nil {
			err = k.mayCall(a)
		}
		if err == nil {
			err = s.Connect(a)
		}
		return nil, err
	case rxmsg.OpListen:
		n := int64(r.h.Arg)
		if n != int64(int32(n)) {
			return nil, errno(syscall.EINVAL, fmt.Sprintf("backlog %d", n))
		}
		if err = s.Listen(int(n)); err == nil {
			k.mu.Lock()
			k.server = true
			k.mu.Unlock()
		}
		return nil, err
	case rxmsg.OpShutdown:
		return nil, s.Shutdown(int(int32(min(r.h.Arg, 3))))
	case rxmsg.OpSetOpt:
		level, option := rxmsg.SplitOpt(r.h.Arg)
		return nil, s.SetOption(level, option, r.body)
	case rxmsg.OpGetOpt:
		level, option := rxmsg.SplitOpt(r.h.Arg)
		body = make([]byte, 64)
		n, err := s.GetOption(level, option, body)
		p.Value = uint32(option)
		return body[:n], err
	case rxmsg.OpGetName:
		return k.getname(r.h.Arg)
	case rxmsg.OpWindow:
		return nil, k.openWindow(r)
	case rxmsg.OpReject:
		return nil, s.Reject()
	}
	return k.kernelOp(r, p)
}

// doClose does CLOSE. The socket counts until it is closed.
func (k *sock) doClose(r *request) error {
	o := k.o
	o.mu.Lock()
	mine := o.socks[k.n] == k
	if mine {
		delete(o.socks, k.n)
		o.closing++
	}
	o.mu.Unlock()
	if !mine {
		return noSocket(k.n)
	}
	ctx, over := o.until(r)
	err := over(k.linger(ctx))
	k.close()
	o.mu.Lock()
	o.closing--
	o.mu.Unlock()
	o.dropSocket()
	return err
}

// linger waits until the endpoint has the replies that were posted to their end: these are to arrive.
func (k *sock) linger(ctx context.Context) error {
	k.mu.Lock()
	n := k.ends
	if n == 0 || !k.server {
		k.mu.Unlock()
		return nil
	}
	ended := make(chan struct{})
	k.ended = ended
	k.mu.Unlock()
	t := time.NewTimer(k.o.a.cfg.Linger)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	case <-t.C:
	}
	return errno(syscall.ETIMEDOUT, "replies that had not been sent to their end were aborted")
}

// finished counts an end less.
func (k *sock) finished() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ends--; k.ends == 0 && k.ended != nil {
		close(k.ended)
		k.ended = nil
	}
}

// address reads an address as the socket's family has it.
func (k *sock) address(b []byte) (rxrpc.Addr, error) {
	return rxrpc.ParseAddr(b, k.s.AddrFamily())
}

func (k *sock) bind(b []byte) ([]byte, error) {
	a, err := k.address(b)
	if err != nil {
		return nil, err
	}
	if pol := k.o.a.cfg.Policy; pol != nil && (a.Service != 0 || a.Addr.Port() != 0) {
		if err := denied(pol.Listen(k.o.from, a)); err != nil {
			return nil, err
		}
	}
	if err := k.s.Bind(a); err != nil {
		return nil, err
	}
	return k.s.Getsockname().AppendRaw(nil), nil
}

// mayCall asks the policy.
func (k *sock) mayCall(a rxrpc.Addr) error {
	pol := k.o.a.cfg.Policy
	if pol == nil || a == k.allowed {
		return nil
	}
	if err := denied(pol.Call(k.o.from, a)); err != nil {
		return err
	}
	k.allowed = a
	return nil
}

func (k *sock) getname(which uint64) ([]byte, error) {
	switch which {
	case 0:
		return k.s.Getsockname().AppendRaw(nil), nil
	case 1:
		if a, ok := k.s.Getpeername(); ok {
			return a.AppendRaw(nil), nil
		}
		return nil, errno(syscall.ENOTCONN, "getpeername")
	}
	return nil, errno(syscall.EINVAL, fmt.Sprintf("name %d", which))
}

// openWindow does WINDOW. A call that is over meanwhile is no error. Of a socket that is intercepted it can only open again what was told
// before: beyond the window there would be no bound for the handles.
func (k *sock) openWindow(r *request) error {
	n, err := rxmsg.ParseU32(r.body)
	if err != nil {
		return err
	}
	more := int(min(n, 1<<30))
	if !k.intercepted.Load() {
		k.s.Window(r.h.Arg, more)
		return nil
	}
	k.mu.Lock()
	out := k.handles.cost[r.h.Arg]
	k.mu.Unlock()
	k.s.WindowWithin(r.h.Arg, more, k.window-out)
	return nil
}

// quick does a request in the callback, if it cannot block there.
func (k *sock) quick(r *request) bool {
	op := r.h.Op
	switch op {
	case rxmsg.OpWindow, rxmsg.OpDataDelivered, rxmsg.OpFree, rxmsg.OpRecvData:
	case rxmsg.OpSendmsg, rxmsg.OpSendData:
	default:
		return false
	}
	if !k.lane.idle() || (op == rxmsg.OpSendmsg || op == rxmsg.OpSendData) && !k.settled(r) {
		return false
	}
	switch op {
	case rxmsg.OpSendmsg:
		k.sendmsg(r)
	case rxmsg.OpSendData:
		k.sendData(r)
	default:
		var p rxmsg.Reply
		body, err := k.socketOp(r, &p)
		if err != nil {
			k.o.fail(r, err)
		} else if !r.noReply() {
			k.o.a.reply(k.o.ctx, r, p, body)
		}
	}
	return true
}

// settled reports whether a message can be submitted in the callback: without an endpoint to be opened for it, which the lane does.
func (k *sock) settled(r *request) bool {
	if k.bound.Load() {
		return true
	}
	var to rxrpc.Addr
	if r.h.Op == rxmsg.OpSendmsg {
		m, err := rxmsg.ParseMsg(r.body)
		if err == nil && len(m.Name) > 0 {
			to, err = k.address(m.Name)
		}
		if err != nil {
			return true // it is refused
		}
	}
	if !k.s.Settled(to) {
		return false
	}
	if k.inet { // or there may be another one for another family
		k.bound.Store(true)
	}
	return true
}

func u64(b []byte) (uint64, bool) {
	if len(b) < 8 {
		return 0, false
	}
	return binary.NativeEndian.Uint64(b), true
}
