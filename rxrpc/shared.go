package rxrpc

import (
	"net/netip"
	"sync"
	"time"
)

// sharing is what Shared knows of an endpoint.
type sharing struct {
	keys   []netip.AddrPort // in the map
	users  int
	retire *time.Timer // when nobody uses it; nil while somebody does
	retain time.Duration
}

// shared are the endpoints that unrelated users of the process have in common,
// by the address that they asked for.
var shared = struct {
	sync.Mutex
	m map[netip.AddrPort]*Endpoint
}{m: make(map[netip.AddrPort]*Endpoint)}

// Shared returns the endpoint of the process on that local address, and makes it if there is
// none: unrelated clients and servers then use one UDP port, one set of connections and what
// is known of peers. With port 0 it is one that all who ask for port 0 share. cfg counts for whoever comes first.
//
// Each user closes it once. After the last it is retained for Config.Retain in case
// somebody wants it again, and then closed.
func Shared(local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	key := netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	shared.Lock()
	defer shared.Unlock()
	if e := shared.m[key]; e != nil {
		s := e.share
		s.users++
		if s.retire != nil {
			s.retire.Stop()
			s.retire = nil
		}
		return e, nil
	}
	return share(key, key, cfg)
}

// sharedFresh is Shared with port 0 for who does not want what others have: a server's.
func sharedFresh(local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	shared.Lock()
	defer shared.Unlock()
	return share(netip.AddrPort{}, netip.AddrPortFrom(local.Addr().Unmap(), 0), cfg)
}

// share opens an endpoint for key, and for whoever asks for the port that it has got. shared
// is locked.
func share(key, local netip.AddrPort, cfg *Config) (*Endpoint, error) {
	e, err := Open(local, cfg)
	if err != nil {
		return nil, err
	}
	e.share = &sharing{keys: []netip.AddrPort{e.local}, users: 1, retain: e.cfg.Retain}
	if key.IsValid() && key != e.local {
		e.share.keys = append(e.share.keys, key)
	}
	for _, k := range e.share.keys {
		shared.m[k] = e
	}
	return e, nil
}

// forget takes e out of the map; shared is locked.
func (s *sharing) forget() {
	for _, k := range s.keys {
		delete(shared.m, k)
	}
}

// leave is one user's Close.
func (s *sharing) leave(e *Endpoint) error {
	shared.Lock()
	if s.users == 0 {
		shared.Unlock()
		return &EndpointError{Op: "close", Local: e.local, Err: ErrClosed}
	}
	if s.users--; s.users > 0 {
		shared.Unlock()
		return nil
	}
	if s.retain < 0 {
		s.forget()
		shared.Unlock()
		e.shut()
		return nil
	}
	s.retire = time.AfterFunc(s.retain, func() { s.expire(e) })
	shared.Unlock()
	return nil
}

// expire closes the endpoint unless somebody has taken it again.
func (s *sharing) expire(e *Endpoint) {
	shared.Lock()
	if s.users > 0 || shared.m[s.keys[0]] != e {
		shared.Unlock()
		return
	}
	s.forget()
	shared.Unlock()
	e.shut()
}

// CloseShared closes at once the endpoints that nobody uses any more and that are only
// retained; for the end of a program, or of a test.
func CloseShared() {
	shared.Lock()
	var unused []*Endpoint
	for _, e := range shared.m {
		if e.share.users == 0 {
			e.share.retire.Stop()
			e.share.forget()
			unused = append(unused, e)
		}
	}
	shared.Unlock()
	for _, e := range unused {
		e.shut()
	}
}
