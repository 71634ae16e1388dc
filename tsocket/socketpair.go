package tsocket

import "golang.org/x/sys/unix"

// SocketPair returns two connected unix streams.
func SocketPair() (*Stream, *Stream, error) {
	fds, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		return nil, nil, &OpError{Op: "socketpair", Err: err}
	}
	unnamed := &names{Addr{kind: addrUnix}, Addr{kind: addrUnix}}
	return newFDStream(fds[0], unnamed), newFDStream(fds[1], unnamed), nil
}

// StreamFromFD makes a stream of a connected stream socket, a pipe or the like
// and takes ownership of the descriptor: nobody else may close it. It becomes
// non-blocking, and with it every duplicate of it. EBADF if there is no such descriptor; it
// is the caller's still if there is an error.
func StreamFromFD(fd int) (*Stream, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, &OpError{Op: "stream of a descriptor", Err: err}
	}
	return newFDStream(fd, &names{sockName(fd), peerName(fd)}), nil
}
