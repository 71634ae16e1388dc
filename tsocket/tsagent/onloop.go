package tsagent

import (
	"context"
	"errors"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/tsocket"
)

// loopIn receives on Config.Loop: the goroutine that works on what comes, and sends what follows from it, is the one that has waited
// for it, and for much else.
type loopIn struct {
	receiver
	watch  *tsocket.Watch
	paused bool // there was no credit; of s.mu
}

// receiveOnLoop has the loop receive, unless it is a goroutine's to do. s.mu is held.
func (s *sock) receiveOnLoop() bool {
	if in := s.in.loop; in != nil {
		if in.paused && s.in.credit > 0 {
			in.paused = false
			in.watch.Want(tsocket.Readable)
		}
		return true
	}
	l := s.a.cfg.Loop
	if l == nil || s.own.sink == (cbid.ID{}) || s.dgram == nil || s.in.running || s.in.ended || s.closed {
		return false
	}
	in := &loopIn{}
	w, err := l.Watch(s.dgram, tsocket.Readable, func(tsocket.Ready) { s.receiveHere(in) })
	if err != nil {
		return false
	}
	in.watch = w
	s.in.loop, s.in.running = in, true
	return true
}

// What is received in a turn of the loop, in which others want theirs: a few large pieces, or many small datagrams. What they cause to be sent
// leaves together.
const (
	turnBytes = 256 << 10
	turnTimes = 16
)

// noWait is the context of a receive that does not wait.
var noWait context.Context

// receiveHere receives what has come, on the loop. What is left is told again.
func (s *sock) receiveHere(in *loopIn) {
	begin := s.bytesIn.Load()
	for range turnTimes {
		if s.bytesIn.Load()-begin >= turnBytes || !s.mayReceiveHere(in) {
			return
		}
		err := in.receive(noWait, s)
		if errors.Is(err, tsocket.ErrAgain) || s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.recvFailed(err)
		}
	}
}

// mayReceiveHere reports whether the owner has room. If not, nothing is asked for until it has.
func (s *sock) mayReceiveHere(in *loopIn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if in.paused = s.in.credit <= 0; in.paused {
		in.watch.Want(0)
	}
	return !in.paused
}
