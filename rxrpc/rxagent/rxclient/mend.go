package rxclient

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/internal/proto"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxmsg"
)

// mend has a goroutine open the sockets that are missing: of keys that were not used before, and all of them when the agent
// is back. The owner calls it.
func (e *engine) mend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.shutting:
	case e.mending:
		e.mendAgain = true
	default:
		e.mending = true
		e.wg.Go(e.mendAll)
	}
}

// mendAll opens what is missing until nothing is, with pauses as long as the agent is away.
func (e *engine) mendAll() {
	pause := e.c.cfg.Patience
	for {
		ok := e.mendOnce()
		e.mu.Lock()
		if ok && !e.mendAgain || e.shutting {
			e.mending = false
			e.mu.Unlock()
			return
		}
		e.mendAgain = false
		e.mu.Unlock()
		if ok {
			pause = e.c.cfg.Patience
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-e.ctx.Done():
			t.Stop()
		}
		pause = min(2*pause, maxPause)
	}
}

const maxPause = 2 * time.Second

// mendOnce tries once. The socket that holds the port comes first.
func (e *engine) mendOnce() bool {
	if _, err := e.c.greet(e.ctx); err != nil { // the agent may have other limits now
		return false
	}
	var clients []*farClient
	var services []*farService
	asked := make(chan struct{})
	e.run(func(proto.Time) {
		defer close(asked)
		for _, f := range e.clients() {
			if f.s == nil {
				clients = append(clients, f)
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		for v := range e.services {
			if v.s == nil {
				services = append(services, v)
			}
		}
	})
	<-asked
	for _, f := range clients {
		if !e.mendClient(f) {
			return false
		}
	}
	for _, v := range services {
		if !e.mendService(v) {
			return false
		}
	}
	return true
}

func (e *engine) mendClient(f *farClient) bool {
	secure := func(s *farSocket) error {
		if f.key == (Key{}) {
			return nil
		}
		if f.key.level > 0 {
			if err := e.setOption(e.ctx, s, rxrpc.OptMinSecurityLevel, binary.NativeEndian.AppendUint32(nil, f.key.level)); err != nil {
				return err
			}
		}
		return e.setOption(e.ctx, s, rxrpc.OptSecurityKey, []byte(f.key.description))
	}
	local := e.local
	if e.any { // another may have that port now, or nobody may name one
		local = netip.AddrPortFrom(local.Addr(), 0)
	}
	s, _, err := e.bind(e.ctx, rxmsg.Socket{OwnPort: !e.any}, local, 0, secure)
	if err == nil {
		e.install(s, func() bool { return f.s == nil }, func() {
			f.s = s
			if f == e.plain {
				e.away = nil
			}
			waiting := f.waiting
			f.waiting = nil
			for _, c := range waiting {
				c.waits = false
				if !c.ended {
					s.add(c)
					c.canWrite()
				}
			}
		})
		return true
	}
	var refusal *rxmsg.Error
	if f.key == (Key{}) || !errors.As(err, &refusal) || passing(refusal.Errno) {
		return false
	}
	e.run(func(proto.Time) { // there is no such key, or it must not be used
		delete(e.keyed, f.key)
		f.fail(proto.Result{Completion: proto.LocalError, Errno: refusal.Errno, Err: err})
	})
	return true
}

// passing reports whether what the agent says may be otherwise soon: its port, or what a user may have, is still taken by the socket before.
func passing(no syscall.Errno) bool {
	switch no {
	case syscall.EADDRINUSE, syscall.EMFILE, syscall.ENOBUFS, syscall.EAGAIN, syscall.ESHUTDOWN:
		return true
	}
	return false
}

func (e *engine) mendService(v *farService) bool {
	s, err := v.reserve(e.ctx)
	if err != nil {
		return false
	}
	listen := false
	e.install(s, func() bool { return v.s == nil && !v.closed }, func() {
		v.s = s
		listen = v.listening && !v.refusing
	})
	if !listen || s.gone.Load() {
		return true
	}
	if err := e.listen(e.ctx, s); err != nil {
		s.fail(err)
		return false
	}
	return true
}

// install gives the owner a new socket; one that is not wanted any more is closed.
func (e *engine) install(s *farSocket, wanted func() bool, use func()) {
	used := false
	done := make(chan struct{})
	e.run(func(proto.Time) {
		defer close(done)
		if used = !e.closed && !s.gone.Load() && wanted(); used {
			use()
		}
	})
	<-done
	if !used && !s.gone.Swap(true) {
		e.closeSocket(s)
	}
}
