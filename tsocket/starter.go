package tsocket

import (
	"sync"
	"time"
)

// startDelay is how long a parked request waits, and at most twice that, for
// somebody to call Wait on it before it gets a goroutine. A request may not depend on being
// waited for: reading it may be what the peer needs to go on.
const startDelay = time.Millisecond

// A starter promotes the parked request of one direction. Its timer ticks while
// requests are parked, and not for each of them: who finds the same one at two ticks
// promotes it.
type starter struct {
	mu      sync.Mutex // guards all
	timer   *time.Timer
	ticking bool
	req     parkedRequest
	seen    bool // req was there at the last tick
}

func (s *starter) start(r parkedRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.req, s.seen = r, false
	if s.ticking {
		return
	}
	s.ticking = true
	if s.timer == nil {
		s.timer = time.AfterFunc(startDelay, s.tick)
		return
	}
	s.timer.Reset(startDelay)
}

func (s *starter) tick() {
	s.mu.Lock()
	r := s.req
	late := s.seen
	s.seen = true
	if r == nil || late {
		s.ticking, s.req = false, nil
	} else {
		s.timer.Reset(startDelay)
	}
	s.mu.Unlock()
	if r != nil && late {
		r.promote()
	}
}
