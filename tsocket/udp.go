package tsocket

import (
	"golang.org/x/sys/unix"
)

// UDP makes a UDP socket. local is an inet address; its port may be 0. If
// remote is not the zero Addr, the socket is connected to it: it sends nowhere
// else, receives from nobody else, and hears that nobody listens there.
//
// As in C, a wildcard local address without a port is not bound, and has the
// family of remote; otherwise both must be of one family. An IPv6 socket is for IPv6 only. A local
// port that is given may be in use by sockets that allow it (SO_REUSEADDR).
//
// The OpError's Err is ErrInvalid for addresses that do not fit, or the errno:
// EADDRINUSE, EADDRNOTAVAIL, ...
func UDP(local, remote Addr) (*Dgram, error) {
	if local.kind != addrInet || !remote.IsZero() && remote.kind != addrInet {
		return nil, &OpError{Op: "udp socket", Addr: local, Err: ErrInvalid}
	}
	return openDgram(local, remote, nil)
}

// UDPBroadcast makes a UDP socket that may send to broadcast addresses. local
// is an IPv4 address: ErrInvalid for others.
func UDPBroadcast(local Addr) (*Dgram, error) {
	if !local.is4() {
		return nil, &OpError{Op: "udp socket", Addr: local, Err: ErrInvalid}
	}
	return openDgram(local, Addr{}, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
	})
}

// UnixDgram makes a unix datagram socket, bound to local unless that is the
// empty path or the zero Addr, and connected to remote unless that is the zero Addr. Nobody
// unlinks the path, before or after. The OpError's Err is ErrInvalid for addresses of another
// kind, or the errno: EADDRINUSE if the file exists, ENOENT and ECONNREFUSED if there is no remote
// or nobody behind it.
func UnixDgram(local, remote Addr) (*Dgram, error) {
	if local.IsZero() {
		local = Addr{kind: addrUnix}
	}
	if !local.IsUnix() || !remote.IsZero() && !remote.IsUnix() {
		return nil, &OpError{Op: "unix socket", Addr: local, Err: ErrInvalid}
	}
	return openDgram(local, remote, nil)
}

// UnixDgramPair returns two connected unix datagram sockets.
func UnixDgramPair() (*Dgram, *Dgram, error) {
	fds, err := socketPair(unix.SOCK_DGRAM)
	if err != nil {
		return nil, nil, &OpError{Op: "socketpair", Err: err}
	}
	peer := Addr{kind: addrUnix}
	return NewDgram(newFDDgram(fds[0], false, peer, peer)), NewDgram(newFDDgram(fds[1], false, peer, peer)), nil
}

func openDgram(local, remote Addr, prepare func(fd int) error) (*Dgram, error) {
	fd, err := openSocket(unix.SOCK_DGRAM, local, remote)
	if err != nil {
		return nil, &OpError{Op: "bind", Addr: local, Err: err}
	}
	if prepare != nil {
		if err := prepare(fd); err != nil {
			_ = unix.Close(fd)
			return nil, &OpError{Op: "socket option", Addr: local, Err: err}
		}
	}
	if !remote.IsZero() {
		if err := connect(fd, remote); err != nil {
			_ = unix.Close(fd)
			return nil, &OpError{Op: "connect", Addr: remote, Err: err}
		}
	}
	if local.kind == addrInet {
		local = sockName(fd)
	}
	return NewDgram(newDgramOps(fd, local.kind == addrInet, local, remote)), nil
}

// DgramFromFD makes a datagram socket of an existing one: UDP, unix, netlink or
// any other whose messages have boundaries. It takes ownership of the descriptor, which becomes
// non-blocking, and with it every duplicate of it. The OpError's Err is EBADF or ENOTSOCK for what
// is no socket, ErrInvalid for a socket of streams; the descriptor is the caller's still then.
func DgramFromFD(fd int) (*Dgram, error) {
	const op = "datagram socket of a descriptor"
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, &OpError{Op: op, Err: err}
	}
	if kind == unix.SOCK_STREAM {
		return nil, &OpError{Op: op, Err: ErrInvalid}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, &OpError{Op: op, Err: err}
	}
	local := sockName(fd)
	udp := local.kind == addrInet && kind == unix.SOCK_DGRAM
	ops := newDgramOps(fd, udp, local, peerName(fd))
	if f, ok := ops.(*fdDgram); ok {
		f.ends = kind == unix.SOCK_SEQPACKET
	}
	return NewDgram(ops), nil
}
