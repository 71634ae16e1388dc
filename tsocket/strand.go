package tsocket

import "sync"

// A strand runs functions one at a time, in the order they were posted, on a
// goroutine that lives as long as there are any.
type strand struct {
	mu      sync.Mutex // guards all; functions run without it
	todo    []func()
	running bool
}

func (s *strand) post(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.todo = append(s.todo, fn)
	if !s.running {
		s.running = true
		go s.run()
	}
}

func (s *strand) run() {
	for {
		s.mu.Lock()
		if len(s.todo) == 0 {
			s.running, s.todo = false, nil
			s.mu.Unlock()
			return
		}
		fn := s.todo[0]
		s.todo[0] = nil
		s.todo = s.todo[1:]
		s.mu.Unlock()
		fn()
	}
}

// hold keeps what is posted until resume.
func (s *strand) hold() {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
}

func (s *strand) resume() { go s.run() }
