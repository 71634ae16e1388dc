package rxrpc

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// sharing is what Shared knows of an endpoint.
type sharing struct {
	pool   *Pool
	keys   []netip.AddrPort // in the map
	users  int
	retire *time.Timer // when nobody uses it; nil while somebody does
	retain time.Duration
	fresh  bool // one user's own: nobody else looks for it
}

// freshRetained is how many endpoints of servers with ports of their own, which have ended, a pool retains for what their
// peers may still have to hear: a program that goes through ports would have all of them.
const freshRetained = 16

// A Pool is the endpoints that users who know nothing of each other have in common, by the address that
// they asked for. That of Shared is the process's.
type Pool struct {
	open func(local netip.AddrPort, cfg *Config) (*Endpoint, error)

	mu   sync.Mutex // guards m and the sharing of the endpoints in it, and left
	m    map[netip.AddrPort]*Endpoint
	left []*Endpoint // fresh ones that were left, the first one first; some have ended or are used again
}

// NewPool makes a pool whose endpoints open makes; nil: Open. The pool waits for open.
func NewPool(open func(local netip.AddrPort, cfg *Config) (*Endpoint, error)) *Pool {
	if open == nil {
		open = Open
	}
	return &Pool{open: open, m: make(map[netip.AddrPort]*Endpoint)}
}

var shared = NewPool(nil)

// Shared returns the endpoint of the process on that local address, and makes it if there is
// none: unrelated clients and servers then use one UDP port, one set of connections and what
// is known of peers. With port 0 it is one that all who ask for port 0 share. cfg counts for whoever comes first.
//
// Each user closes it once. After the last it is retained for Config.Retain in case
// somebody wants it again, and then closed. What the peers are owed is sent at once: a program may end right after its Close.
func Shared(local netip.AddrPort, cfg *Config) (*Endpoint, error) { return shared.Shared(local, cfg) }

// Shared is the function Shared for the users of the pool.
func (p *Pool) Shared(local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	key := netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.m[key]; e != nil {
		s := e.share
		s.users++
		if s.retire != nil {
			s.retire.Stop()
			s.retire = nil
		}
		return e, nil
	}
	return p.share(key, key, cfg)
}

// fresh is Shared with port 0 for who does not want what others have: a server's.
func (p *Pool) fresh(local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.share(netip.AddrPort{}, netip.AddrPortFrom(local.Addr().Unmap(), 0), cfg)
	if err == nil {
		e.share.fresh = true
	}
	return e, err
}

// crowded takes e, a fresh one that is left, into the books, and returns one that has to go for it. The pool is locked.
func (p *Pool) crowded(e *Endpoint) (old *Endpoint) {
	p.left = append(slices.DeleteFunc(p.left, func(x *Endpoint) bool { return x == e || !x.share.unused() }), e)
	if len(p.left) <= freshRetained {
		return nil
	}
	old = p.left[0]
	p.left = slices.Delete(p.left, 0, 1)
	old.share.retire.Stop()
	old.share.forget()
	return old
}

// unused reports whether the endpoint is retained; the pool is locked.
func (s *sharing) unused() bool {
	e := s.pool.m[s.keys[0]]
	return s.users == 0 && e != nil && e.share == s
}

// share opens an endpoint for key, and for whoever asks for the port that it has got. p is
// locked.
func (p *Pool) share(key, local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	e, err := p.open(local, cfg)
	if err != nil {
		return nil, err
	}
	e.share = &sharing{pool: p, keys: []netip.AddrPort{e.local}, users: 1, retain: e.cfg.Retain}
	if key.IsValid() && key != e.local {
		e.share.keys = append(e.share.keys, key)
	}
	for _, k := range e.share.keys {
		p.m[k] = e
	}
	return e, nil
}

// forget takes e out of the map; the pool is locked.
func (s *sharing) forget() {
	for _, k := range s.keys {
		delete(s.pool.m, k)
	}
}

// leave is one user's Close.
func (s *sharing) leave(e *Endpoint) error {
	s.pool.mu.Lock()
	if s.users == 0 {
		s.pool.mu.Unlock()
		return &EndpointError{Op: "close", Local: e.local, Err: ErrClosed}
	}
	if s.users--; s.users > 0 {
		s.pool.mu.Unlock()
		return nil
	}
	if s.retain < 0 {
		s.forget()
		s.pool.mu.Unlock()
		e.shut()
		return nil
	}
	s.retire = time.AfterFunc(s.retain, func() { s.expire(e) })
	var old *Endpoint
	if s.fresh {
		old = s.pool.crowded(e)
	}
	s.pool.mu.Unlock()
	e.ackEnds()
	if old != nil {
		old.shut()
	}
	return nil
}

// expire closes the endpoint unless somebody has taken it again.
func (s *sharing) expire(e *Endpoint) {
	s.pool.mu.Lock()
	if s.users > 0 || s.pool.m[s.keys[0]] != e {
		s.pool.mu.Unlock()
		return
	}
	s.forget()
	s.pool.mu.Unlock()
	e.shut()
}

// CloseShared closes at once the endpoints that nobody uses any more and that are only
// retained; for the end of a program, or of a test.
func CloseShared() { shared.CloseUnused() }

// CloseUnused is CloseShared for the pool.
func (p *Pool) CloseUnused() {
	p.mu.Lock()
	var unused []*Endpoint
	for _, e := range p.m {
		if e.share.users == 0 {
			e.share.retire.Stop()
			e.share.forget()
			unused = append(unused, e)
		}
	}
	p.mu.Unlock()
	for _, e := range unused {
		e.shut()
	}
}

// Endpoints returns the endpoints of the pool, in the order of their addresses.
func (p *Pool) Endpoints() []*Endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*Endpoint
	for k, e := range p.m {
		if k == e.share.keys[0] {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *Endpoint) int { return a.local.Compare(b.local) })
	return all
}
