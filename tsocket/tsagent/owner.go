package tsagent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// owner is a port of the bus that has sockets. What the handler has to tell it goes through a queue and a
// goroutine of its own, so that one that does not read holds up nobody else.
type owner struct {
	a    *Agent
	port uint32
	cred connector.Cred
	sinks

	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	header [HeaderLen]byte // an event without a body; of the pump

	mu      sync.Mutex // guards the fields below
	ended   bool
	socks   map[uint32]*sock
	queue   []*sock // that have something to tell
	unwatch func()
}

// sinks are where events go instead of to the owner's port; zero: they do not.
type sinks struct {
	sink cbid.ID
	room cbid.ID // EvWindow of datagrams, without a number
}

// owner returns the owner with the port that r came from, a.mu held.
func (a *Agent) owner(from connector.From, to sinks) (*owner, error) {
	o := a.owners[from.Port]
	if o != nil {
		if o.sinks != to {
			return nil, invalid("all sockets of a port have the same sink")
		}
		return o, nil
	}
	o = &owner{a: a, port: from.Port, cred: from.Cred, sinks: to, wake: make(chan struct{}, 1), socks: make(map[uint32]*sock)}
	o.ctx, o.cancel = context.WithCancel(a.ctx)
	a.owners[from.Port] = o
	a.wg.Go(o.follow)
	a.wg.Go(o.pump)
	return o, nil
}

// follow waits for word from the bus that the port is gone.
func (o *owner) follow() {
	stop, err := connector.FollowPort(o.ctx, o.a.bus, o.port, o.end)
	switch {
	case err == nil:
	case errors.Is(err, connector.ErrNotSupported):
		o.a.cfg.Logger.Warn("this bus does not tell when a process is gone: its sockets stay until they are closed", "port", o.port)
		return
	case o.ctx.Err() != nil:
		return
	default:
		o.a.cfg.Logger.Warn("a port cannot be followed", "port", o.port, "err", err)
		o.end()
		return
	}
	o.mu.Lock()
	o.unwatch = stop
	ended := o.ended
	o.mu.Unlock()
	if ended {
		stop()
	}
}

// end closes the sockets of an owner that is gone. It does not block.
func (o *owner) end() {
	a := o.a
	a.mu.Lock()
	if a.owners[o.port] == o {
		delete(a.owners, o.port)
	}
	a.mu.Unlock()
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return
	}
	o.ended = true
	var all []*sock
	for _, s := range o.socks {
		all = append(all, s)
	}
	o.mu.Unlock()
	o.cancel()
	for _, s := range all {
		s.close()
	}
}

// unfollow ends the following. It must not be called by what is followed.
func (o *owner) unfollow() {
	o.mu.Lock()
	unwatch := o.unwatch
	o.unwatch = nil
	o.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// tell has the pump ask s for what it has to tell.
func (o *owner) tell(s *sock) {
	o.mu.Lock()
	if !s.told && !o.ended {
		s.told = true
		o.queue = append(o.queue, s)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *owner) pump() {
	for {
		select {
		case <-o.wake:
		case <-o.ctx.Done():
			return
		}
		for {
			o.mu.Lock()
			if len(o.queue) == 0 {
				o.mu.Unlock()
				break
			}
			s := o.queue[0]
			n := copy(o.queue, o.queue[1:]) // its memory is used again
			o.queue[n] = nil
			o.queue = o.queue[:n]
			s.told = false
			o.mu.Unlock()
			s.sendNews()
		}
	}
}

// open makes a socket for the sender of r.
func (r *request) open() error {
	a := r.a
	family, kind := int(r.h.Arg&0xffff), int(r.h.Arg>>16&0xffff)
	if familyName(family) == "" {
		return &Error{syscall.EAFNOSUPPORT, fmt.Sprintf("open: family %d is none of AF_INET, AF_INET6, AF_UNIX", family)}
	}
	if kind != kindStream && kind != kindDgram {
		return &Error{syscall.EPROTONOSUPPORT, fmt.Sprintf("open: type %d is neither SOCK_STREAM nor SOCK_DGRAM", kind)}
	}
	var to sinks
	switch n := len(r.body); {
	case n == 0:
	case n != 8 && n != 16:
		return invalid("open: the body is neither empty nor one or two ids of 8 bytes")
	case !a.cfg.Sinks:
		return &Error{syscall.EOPNOTSUPP, "open: this agent sends events to ports only"}
	default:
		to.sink = cbid.Make(native.Uint32(r.body), native.Uint32(r.body[4:]))
		if n == 16 {
			to.room = cbid.Make(native.Uint32(r.body[8:]), native.Uint32(r.body[12:]))
		}
	}
	s, err := a.newSock(r.d.From, to, family, kind, false)
	if err != nil {
		return err
	}
	if err := s.allow(OpOpen, s.local); err != nil {
		s.close()
		return err
	}
	var window [4]byte
	native.PutUint32(window[:], uint32(a.cfg.Window))
	r.done(s.num, uint32(a.cfg.Window), window[:])
	return nil
}

// newSock makes a socket, within the limits, or only a place for one.
func (a *Agent) newSock(from connector.From, to sinks, family, kind int, reserved bool) (*sock, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, &Error{syscall.ESHUTDOWN, "the agent is stopping"}
	}
	uid := a.uids[from.Cred.UID]
	if uid == nil {
		uid = &account{}
	}
	switch l := a.cfg.limits(from.Cred.UID); {
	case l.Sockets >= 0 && uid.sockets >= l.Sockets:
		a.cfg.exceeded(from.Cred, "sockets", int64(l.Sockets))
		return nil, &Error{syscall.EMFILE, fmt.Sprintf("uid %d has %d sockets, which is the limit", from.Cred.UID, uid.sockets)}
	case l.Bytes >= 0 && int64(uid.bytes+a.cfg.Window) > l.Bytes:
		a.cfg.exceeded(from.Cred, "bytes", l.Bytes)
		return nil, &Error{syscall.ENOBUFS, fmt.Sprintf("the sockets of uid %d take %d bytes, and another window is beyond the limit", from.Cred.UID, uid.bytes)}
	}
	o, err := a.owner(from, to)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return nil, errSockGone
	case len(o.socks) >= a.cfg.SocketsPerOwner:
		return nil, &Error{syscall.EMFILE, fmt.Sprintf("port %d has %d sockets, which is the limit", o.port, len(o.socks))}
	}
	for a.next++; a.next == 0 || a.socks[a.next] != nil; a.next++ {
	}
	s := &sock{a: a, own: o, num: a.next, family: family, kind: kind, reserved: reserved, wake: make(chan struct{}, 1)}
	s.ctx, s.cancelAll = context.WithCancel(o.ctx)
	s.outCtx, s.stopOut = context.WithCancel(context.Background())
	a.socks[s.num], o.socks[s.num] = s, s
	uid.sockets++
	uid.bytes += a.cfg.Window
	s.charged = a.cfg.Window
	a.uids[from.Cred.UID] = uid
	if reserved {
		a.reserved++
	} else {
		a.stats.opened.Add(1)
	}
	return s, nil
}

// fill says that a reserved place has its socket now, or that it will not have one. a.mu is held.
func (s *sock) fill() {
	if s.reserved {
		s.reserved = false
		s.a.reserved--
	}
}

// forget takes a closed socket off the tables. Its uid still answers for it until release.
func (s *sock) forget() {
	a, o := s.a, s.own
	a.mu.Lock()
	delete(a.socks, s.num)
	s.fill()
	a.mu.Unlock()
	o.mu.Lock()
	delete(o.socks, s.num)
	o.mu.Unlock()
}

// release gives back what the socket had of its uid's limits.
func (s *sock) release() {
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	s.leave()
	s.released = true
	uid := a.uids[s.own.cred.UID]
	if uid == nil {
		return
	}
	uid.sockets--
	uid.bytes -= s.charged
	s.charged = 0 // who sends yet may uncharge after this
	if uid.sockets <= 0 {
		delete(a.uids, s.own.cred.UID)
	}
}
