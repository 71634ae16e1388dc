package rxrpc

import "context"

// PollEvents are what a Socket is ready for, with Linux's values.
type PollEvents int

// Events.
const (
	PollIn  PollEvents = 0x1  // Recvmsg has something
	PollOut PollEvents = 0x4  // messages can be sent: it says nothing about the window of a call
	PollHup PollEvents = 0x10 // shut down or closed
)

// Poll returns what the socket is ready for now.
func (s *Socket) Poll() PollEvents {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.poll()
}

func (s *Socket) poll() PollEvents {
	var ev PollEvents
	if x, _ := s.next(); x != nil && !s.tapped || s.closed {
		ev |= PollIn
	}
	if s.shut || s.closed {
		return ev | PollHup
	}
	return ev | PollOut
}

// Changed returns a channel that is closed when there is something new to receive, or the socket is shut down
// or closed: to be asked for before Poll, for waiting for several sockets.
func (s *Socket) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rx.wait()
}

// Wait returns what the socket is ready for as soon as that is one of want, or PollHup. Errors: EINTR when ctx ends first.
func (s *Socket) Wait(ctx context.Context, want PollEvents) (PollEvents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if ev := s.poll(); ev&(want|PollHup) != 0 {
			return ev, nil
		}
		if err := s.pause(ctx, "poll", s.rx.wait()); err != nil {
			return 0, err
		}
	}
}

var sockStates = [...]string{"unbound", "client", "client bound", "server bound", "server bound twice", "listening", "not listening any more"}

// State returns what the socket is, in words: "listening".
func (s *Socket) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "closed"
	}
	return sockStates[s.state]
}

// Calls returns how many calls have a tag, charged ones among them, or wait for one.
func (s *Socket) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls) + len(s.pending)
}
