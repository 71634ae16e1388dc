package tsagent

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a socket may take of the agent's memory counts against its user's BytesPerUID: the window from the beginning, what
// receives and puts together datagrams as soon as it does.

const (
	// piecesCost is the memory of a UDP socket that receives, whether package tsocket has it or a pieceReader.
	piecesCost = pieceCount * (pieceRoom + 256)
	// unixDgramCost: no usual datagram of a unix socket is longer.
	unixDgramCost = 256 << 10
)

// charge counts n bytes more; ENOBUFS beyond the limit.
func (s *sock) charge(n int) error {
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	uid := a.uids[s.own.cred.UID]
	switch l := a.cfg.limits(s.own.cred.UID); {
	case uid == nil || s.released:
		return errSockGone
	case l.Bytes >= 0 && int64(uid.bytes+n) > l.Bytes:
		a.cfg.exceeded(s.own.cred, "bytes", l.Bytes)
		return &Error{syscall.ENOBUFS, fmt.Sprintf("the sockets of uid %d take %d bytes, and %d more is beyond the limit", s.own.cred.UID, uid.bytes, n)}
	}
	uid.bytes += n
	s.charged += n
	return nil
}

// uncharge gives n bytes back before the socket's end.
func (s *sock) uncharge(n int) {
	a := s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if uid := a.uids[s.own.cred.UID]; uid != nil && !s.released && s.charged >= n {
		uid.bytes -= n
		s.charged -= n
	}
}

// chargeReceive counts what receiving takes, once for each of the two ways. s.mu is held.
func (s *sock) chargeReceive(once *bool) error {
	if s.kind != kindDgram || *once {
		return nil
	}
	cost := piecesCost
	if s.family == unix.AF_UNIX {
		cost = unixDgramCost
	}
	err := s.charge(cost)
	*once = err == nil
	return err
}

// addStage puts the next part of a batch behind those before. When one is refused so is all that follows, up to the last: a part that
// begins inside a datagram is no batch.
func (s *sock) addStage(r *request) error {
	more := r.h.Flags&FlagMore != 0
	if err := s.stageErr; err != nil {
		s.stageLost += len(r.body)
		if more {
			return nil
		}
		if !r.wantsReply() {
			s.mu.Lock()
			s.room(s.stageLost)
			s.mu.Unlock()
		}
		s.stageErr, s.stageLost = nil, 0
		return err
	}
	err := s.growStage(len(r.body))
	if err == nil {
		s.stage = append(s.stage, r.body...)
		return nil
	}
	lost := len(s.stage) + len(r.body)
	s.stage = s.stage[:0]
	if more {
		s.stageErr, s.stageLost = err, lost
	} else if !r.wantsReply() {
		s.mu.Lock()
		s.room(lost)
		s.mu.Unlock()
	}
	return err
}

// growStage makes room for n bytes more.
func (s *sock) growStage(n int) error {
	need := len(s.stage) + n
	if need > maxStage {
		return &Error{syscall.EMSGSIZE, fmt.Sprintf("sendto: a batch of more than %d bytes", maxStage)}
	}
	if need <= cap(s.stage) {
		return nil
	}
	size := max(need, min(2*cap(s.stage), maxStage))
	if err := s.charge(size - cap(s.stage)); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	s.stage = append(make([]byte, 0, size), s.stage...)
	return nil
}
