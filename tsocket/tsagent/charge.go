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
	if uid := a.uids[s.own.cred.UID]; uid != nil && s.charged >= n {
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

// addStage puts the next part of a batch behind those before.
func (s *sock) addStage(b []byte) error {
	need := len(s.stage) + len(b)
	if need > cap(s.stage) {
		size := max(need, min(2*cap(s.stage), maxStage))
		if err := s.charge(size - cap(s.stage)); err != nil {
			return err
		}
		s.stage = append(make([]byte, 0, size), s.stage...)
	}
	s.stage = append(s.stage, b...)
	return nil
}
