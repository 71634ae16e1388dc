package tsagent

import (
	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// room grants n bytes to the owner, soon: not for every few of them. s.mu is held.
func (s *sock) room(n int) {
	if n = s.enough(n); n > 0 {
		s.news.window += n
		s.own.tell(s)
	}
}

// enough takes n bytes that are to be granted, and returns those that should be now. s.mu is held.
func (s *sock) enough(n int) int {
	s.out.due += n
	if s.out.due < s.a.cfg.Window/4 {
		return 0
	}
	n, s.out.due = s.out.due, 0
	return n
}

// roomHere is room in the handler: it returns what to give grantHere when s.mu is not held any more.
func (s *sock) roomHere(n int) int {
	if s.own.sinks.room == (cbid.ID{}) {
		s.room(n)
		return 0
	}
	return s.enough(n)
}

// grantHere grants n bytes from the handler, in the goroutine of who sends. The pump would have to be woken for it, once for each few batches of
// who sends much; and the sink may be what sends, or waits for it.
func (s *sock) grantHere(n int) {
	b := &s.a.grant
	Header{Op: EvWindow, Sock: s.num, Arg: uint64(n)}.put(b[:])
	s.a.stats.events.Add(1)
	_ = s.a.sinks.Post(s.ctx, connector.Message{ID: s.own.sinks.room, Data: b[:]}, connector.Dest{}) // if it fails the owner is gone
}
