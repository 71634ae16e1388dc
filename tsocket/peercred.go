package tsocket

// Cred is who made a unix socket, or a stream over a bus, connect, as the kernel saw it then: what the
// process has become since, or to whom it has given the socket, does not count.
type Cred struct {
	PID      int // 0 if it is of another PID namespace
	UID, GID uint32
	Groups   []uint32 // supplementary; nil on kernels before 4.13
}

// PeerCred returns the credentials of the peer of a unix stream: those of who called connect,
// or listen, or made the socketpair; and of a stream of PeerCredOps. The OpError's Err is ErrNotSupported for a stream of another kind and, but for PeerCredOps, on
// other systems than Linux, ErrClosed, or an errno.
func (s *Stream) PeerCred() (Cred, error) {
	var c Cred
	err := error(ErrNotSupported)
	if o, ok := s.ops.(PeerCredOps); ok {
		c, err = o.PeerCred()
	} else if s.fd != nil && (s.LocalAddr().IsUnix() || s.RemoteAddr().IsUnix()) {
		err = s.fd.sys.control(func(fd int) (err error) {
			c, err = peerCred(fd)
			return err
		})
	}
	if err != nil {
		return Cred{}, &OpError{Op: "peer credentials", Err: err}
	}
	return c, nil
}
