package tsocket

import "syscall"

// What Attach asks of a socket.

func (s *Stream) loopPlace() (*sysfd, seated, *home) {
	if s.fd == nil {
		return nil, nil, &s.home
	}
	return s.sys, s.fd, &s.home
}

func (d *Dgram) loopPlace() (*sysfd, seated, *home) {
	if d.sys == nil {
		return nil, nil, &d.home
	}
	return d.sys, d.ops.(seated), &d.home
}

func (l *Listener) loopPlace() (*sysfd, seated, *home) { return &l.sys, l, &l.home }

func (s *fdStream) soft(write bool) bool {
	x := s.rd.Load()
	if write {
		x = s.wr.Load()
	}
	return x != nil && x.errno == syscall.ENOMEM
}

func (s *fdDgram) soft(write bool) bool {
	if write {
		return s.wr.soft
	}
	return s.rd.err == syscall.ENOMEM
}

func (s *fdDgram) onHangup() {}

func (l *Listener) soft(bool) bool { return false }

func (l *Listener) onHangup() {}

// worthTrying reports whether a request is to try the system call before it waits. On a loop, which tells at
// no further cost, it is not while that has lately been in vain.
func (d *readSide) worthTrying() bool {
	if d.s.sys == nil || d.s.sys.seat.Load() == nil || d.ahead.size() > 0 {
		return true
	}
	if d.vain++; d.vain > vainMost {
		d.vain = 2
	}
	return d.vain <= 2
}

// vainMost bounds for how many requests it is not tried again whether trying pays.
const vainMost = 16

// try runs a write on a loop. As everywhere it fails when the peer has finished writing, though that
// may still read.
func (d *writeSide) try() (int64, error) {
	n, err := d.tryNow()
	if err == errInterrupted && d.s.goneForWrites() {
		return d.fail(d.s.fd.brokenErrno())
	}
	return n, err
}

func (s *Stream) goneForWrites() bool {
	return s.fd != nil && s.fd.hangup.seen() && !s.fd.halfOpen.Load()
}

// nudgeIfGone has a write that begins to wait look at once whether it may: the event has been told.
func (s *Stream) nudgeIfGone() {
	if st := s.sys.seat.Load(); st != nil && s.goneForWrites() {
		st.nudge(Writable)
	}
}
