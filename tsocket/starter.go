package tsocket

import (
	"sync"
	"time"
)

// startDelay is how long a parked request waits for somebody to call Wait on it
// before it gets a goroutine. A request may not depend on being waited for:
// reading it may be what the peer needs to go on.
const startDelay = time.Millisecond

// A starter promotes the parked request of one direction after startDelay. Its
// timer is used again and again; one that comes late promotes a request early, which
// harms nobody.
type starter struct {
	mu    sync.Mutex // guards all
	timer *time.Timer
	req   parkedRequest
}

func (s *starter) start(r parkedRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.req = r
	if s.timer == nil {
		s.timer = time.AfterFunc(startDelay, s.fire)
		return
	}
	s.timer.Reset(startDelay)
}

func (s *starter) fire() {
	s.mu.Lock()
	r := s.req
	s.req = nil
	s.mu.Unlock()
	if r != nil {
		r.promote()
	}
}
