package client

import (
	"sync"
	"sync/atomic"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// stopKey is a receiver as Stop and Go name it: a port, a group, or an id.
type stopKey struct {
	port  uint32
	group uint32
	id    cbid.ID
	byID  bool
}

// stops are the receivers that are full: nothing more is sent to them until Go.
type stops struct {
	n  atomic.Int32 // so that the usual case, none, costs one load
	mu sync.Mutex
	m  map[stopKey]struct{}
}

// set handles a Stop or a Go; changed reports whether waiting senders should
// look again.
func (s *stops) set(h *frame.Header, body []byte) (changed bool, err error) {
	k := stopKey{port: h.Port, group: h.Group}
	if len(body) > 0 {
		id, rest, err := frame.ParseID(body)
		if err != nil || len(rest) > 0 || h.Port != 0 || h.Group != 0 {
			return false, violation("malformed Stop or Go")
		}
		k = stopKey{id: id, byID: true}
	} else if (h.Port == 0) == (h.Group == 0) {
		return false, violation("Stop or Go for nobody")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Type == frame.Go {
		delete(s.m, k)
	} else {
		if s.m == nil {
			s.m = make(map[stopKey]struct{})
		}
		s.m[k] = struct{}{}
	}
	s.n.Store(int32(len(s.m)))
	return h.Type == frame.Go, nil
}

// stopped reports whether a message of that id to that receiver has to wait.
// What may be dropped never waits.
func (s *stops) stopped(id cbid.ID, to connector.Dest, agent bool) bool {
	if s.n.Load() == 0 || to.Full == connector.FullDrop {
		return false
	}
	var k stopKey
	switch {
	case to.Port != 0:
		k.port = to.Port
	case to.Group != 0 || agent:
		if to.Full != connector.FullWait {
			return false
		}
		if k.group = to.Group; k.group == 0 {
			k.group = id.Idx
		}
	default:
		k.id, k.byID = id, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.m[k]
	return found
}

// clear forgets all; a new connection begins without.
func (s *stops) clear() {
	s.mu.Lock()
	clear(s.m)
	s.n.Store(0)
	s.mu.Unlock()
}
