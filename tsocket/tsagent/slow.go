package tsagent

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// The handler may run where all messages of the bus pass, and so it never touches the file system, which may be that of another
// machine: what looks at the path of a unix socket does so on a goroutine, and the socket is busy meanwhile.

// slowly completes r by what work returns. s.mu is held, but not while work runs.
func (s *sock) slowly(r *request, work func() (body []byte, err error)) error {
	o := r.laterWithin(s.ctx, 0)
	s.slow = o
	if !s.a.spawn(func() {
		body, err := work()
		s.mu.Lock()
		s.slow = nil
		s.mu.Unlock()
		o.finish(err, 0, body)
	}) {
		s.slow = nil
		return errSockGone
	}
	return nil
}

// isBusy refuses op while the socket is being bound.
func (s *sock) isBusy(op Op) error {
	if op == OpClose || op == OpCancel {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow != nil {
		return errBusy(op, s.slow.op)
	}
	return nil
}

// openUnixDgram is BIND, or CONNECT, of a socket that there is not yet.
func (s *sock) openUnixDgram(local, remote tsocket.Addr) ([]byte, error) {
	d, err := tsocket.UnixDgram(local, remote)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = d.Close()
		return nil, errSockGone
	}
	s.dgram, s.local, s.remote = d, d.LocalAddr(), remote
	if remote.IsZero() {
		return AppendAddr(nil, s.local), nil
	}
	return s.names(), nil
}

// connectUnixDgram tells a socket that there is its only peer.
func (s *sock) connectUnixDgram(d *tsocket.Dgram, remote tsocket.Addr) ([]byte, error) {
	if err := connectFD(d, remote); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remote = remote
	return s.names(), nil
}

// A bound is a *tsocket.BoundTCP or *tsocket.BoundUnix.
type bound interface {
	Dial(ctx context.Context, remote tsocket.Addr) (*tsocket.Stream, error)
	Listen(c *tsocket.ListenConfig) (*tsocket.Listener, error)
	Close() error
}

// bindUnix is BIND of a stream socket.
func (s *sock) bindUnix(local tsocket.Addr) ([]byte, error) {
	b, err := tsocket.BindUnix(local)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.bound, s.local = b, b.Addr()
	}
	s.mu.Unlock()
	if closed {
		_ = b.Close()
		return nil, errSockGone
	}
	return AppendAddr(nil, b.Addr()), nil
}

func (s *sock) listenUnix(b bound, local tsocket.Addr, c *tsocket.ListenConfig) ([]byte, error) {
	var l *tsocket.Listener
	var err error
	if b != nil {
		l, err = b.Listen(c)
	} else {
		l, err = tsocket.ListenUnix(local, c)
	}
	s.mu.Lock()
	closed := s.closed
	switch {
	case err != nil:
		s.unbind()
	case !closed:
		s.lis, s.local = l, l.Addr()
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if closed {
		_ = l.Close()
		return nil, errSockGone
	}
	return AppendAddr(nil, l.Addr()), nil
}

// unlinks reports whether the end of the socket removes a file. s.mu is held.
func (s *sock) unlinks() bool { return (s.lis != nil || s.bound != nil) && s.family == unix.AF_UNIX }

// looksUp reports whether a datagram that is sent makes the kernel look for a path. s.mu is held.
func (s *sock) looksUp() bool { return s.family == unix.AF_UNIX && s.remote.IsZero() }
