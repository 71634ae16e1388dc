package tsocket

import (
	"context"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// BoundTCP is a TCP socket that has its local address and is neither connected nor listening: bind(2) by itself, for who is
// to be told at once whether an address is free. Dial or Listen make of it what it is to be, once.
type BoundTCP struct {
	fd    int
	local Addr
	taken atomic.Bool
}

// BindTCP binds a socket to local, an inet address. Port 0 takes a free one, also with the wildcard; one that is given may
// be in use by sockets that do not listen (SO_REUSEADDR), and with reusePort by such as have that option too (SO_REUSEPORT).
// An IPv6 socket is for IPv6 only. The OpError's Err is ErrInvalid for an address of another kind, or the
// errno: EADDRINUSE, EADDRNOTAVAIL, EACCES, ...
func BindTCP(local Addr, reusePort bool) (*BoundTCP, error) {
	if local.kind != addrInet {
		return nil, &OpError{Op: "bind", Addr: local, Err: ErrInvalid}
	}
	var fd int
	var err error
	if reusePort {
		fd, err = bindReusePort(local)
	} else if fd, err = openSocket(unix.SOCK_STREAM, local, Addr{}); err == nil && local.isAny() {
		if err = bind(fd, local); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return nil, &OpError{Op: "bind", Addr: local, Err: err}
	}
	return &BoundTCP{fd: fd, local: sockName(fd)}, nil
}

// Addr returns the address that the socket is bound to.
func (b *BoundTCP) Addr() Addr { return b.local }

// Dial connects the socket to remote. It is used up, whatever the outcome, which is that of DialTCP; ErrClosed
// if it was before.
func (b *BoundTCP) Dial(ctx context.Context, remote Addr) (*Stream, error) {
	d := &dialJob{remote: remote}
	if !b.take() {
		return nil, d.fail(ErrClosed)
	}
	return d.on(ctx, b.fd, remote.kind == addrInet && remote.is4() == b.local.is4())
}

// on connects a socket that is bound; fits says that the remote address is of its kind.
func (d *dialJob) on(ctx context.Context, fd int, fits bool) (*Stream, error) {
	var err error
	switch {
	case ctx.Err() != nil:
		err = ctxError(ctx)
	case !fits:
		err = ErrInvalid
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, d.fail(err)
	}
	if err := d.start(fd); err != nil {
		return nil, err
	}
	return d.finish(ctx)
}

// Listen makes the socket listen. It is used up, whatever the outcome, which is that of ListenTCP; ErrClosed if it was
// before. ReusePort is a matter of BindTCP.
func (b *BoundTCP) Listen(c *ListenConfig) (*Listener, error) {
	if !b.take() {
		return nil, &OpError{Op: "listen", Addr: b.local, Err: ErrClosed}
	}
	if c == nil {
		c = &ListenConfig{}
	}
	if err := listenOrClose(b.fd, c); err != nil {
		return nil, &OpError{Op: "listen", Addr: b.local, Err: err}
	}
	return newListener(b.fd, noFile), nil
}

// Close gives the address back, unless the socket was used up.
func (b *BoundTCP) Close() error {
	if !b.take() {
		return nil
	}
	return unix.Close(b.fd)
}

func (b *BoundTCP) take() bool { return !b.taken.Swap(true) }
