package tsagent

import (
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/tsocket"
)

// Push has take called in the goroutine in which the agent received: where events come to a sink, on a bus within the process.
// On another bus it would hold up the sockets of the client whose events wait behind.
func (s *clientDgram) Push(take func(msgs []tsocket.Message, err error, over bool)) bool {
	if s.c.cfg.Sink == (cbid.ID{}) {
		return false
	}
	s.mu.Lock()
	s.take = take
	s.mu.Unlock()
	s.handOverQueue() // what has come before
	return true
}

// handOver passes on a batch that is in the agent's memory.
func (s *clientDgram) handOver(body []byte) {
	if err := s.pushBatch(body); err != nil {
		s.fail(err)
		return
	}
	s.consumed(len(body))
}

func (s *clientDgram) pushBatch(body []byte) (err error) {
	s.pushing.Lock()
	defer s.pushing.Unlock()
	s.pushed, err = s.pushNames.parseBatch(s.pushed[:0], body)
	if err == nil && len(s.pushed) > 0 && !s.isClosed() {
		s.take(s.pushed, nil, false)
	}
	clear(s.pushed)
	return err
}

// handOverQueue passes on what is in the queue, and what ends it.
func (s *clientDgram) handOverQueue() {
	s.pushing.Lock()
	defer s.pushing.Unlock()
	for !s.isClosed() {
		b, err := s.head()
		switch {
		case err == tsocket.ErrAgain:
			return
		case err != nil:
			over := s.isLost(err)
			s.take(nil, err, over)
			if over {
				return
			}
		default:
			msgs := b.msgs[b.next:]
			b.next = len(b.msgs)
			s.take(msgs, nil, false)
		}
	}
}

func (s *clientDgram) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// isLost reports whether err is that of the socket, which comes again and again.
func (s *clientDgram) isLost(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Is(err, s.err)
}

// consumed grants the agent what has been passed on.
func (s *clientDgram) consumed(n int) {
	s.mu.Lock()
	s.taken += n
	grant := 0
	if s.taken >= s.c.cfg.Window/2 {
		grant, s.taken = s.taken, 0
	}
	s.mu.Unlock()
	if grant > 0 {
		_ = s.c.postHeader(Header{Op: OpWindow, Sock: s.num, Arg: uint64(grant)})
	}
}

// quiet waits until take does not run, and never will.
func (s *clientDgram) quiet() {
	s.pushing.Lock()
	defer s.pushing.Unlock()
	s.pushed = nil
}

var _ tsocket.PushOps = (*clientDgram)(nil)
