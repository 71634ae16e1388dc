package tsocket

import (
	"context"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// BoundUnix is a unix stream socket that has its local address and is neither connected nor listening, as BoundTCP is of TCP. Nobody
// can connect to it before it listens. Where nothing comes of it its file is unlinked.
type BoundUnix struct {
	fd    int
	local Addr
	file  sockFile
	taken atomic.Bool
}

// BindUnix binds a stream socket to local, a path or an abstract name. The OpError's Err is ErrInvalid for an address of another kind, or
// the errno: EADDRINUSE if the path exists, ENOENT, EACCES, ...
func BindUnix(local Addr) (*BoundUnix, error) {
	if !local.IsUnix() || local.path == "" {
		return nil, &OpError{Op: "bind", Addr: local, Err: ErrInvalid}
	}
	b, err := bindUnix(local, 0)
	if err != nil {
		return nil, &OpError{Op: "bind", Addr: local, Err: err}
	}
	return b, nil
}

// bindUnix binds a socket, whose file has no more permissions than mode if that is not 0.
func bindUnix(local Addr, mode os.FileMode) (*BoundUnix, error) {
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	if mode != 0 {
		premode(fd, mode)
	}
	b := &BoundUnix{fd: fd, local: local, file: noFile}
	if err = bind(fd, local); err == nil {
		b.file, err = findSockFile(local)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return b, nil
}

// Addr returns the address that the socket is bound to.
func (b *BoundUnix) Addr() Addr { return b.local }

// Dial connects the socket to remote. It is used up, whatever the outcome, which is that of DialUnix; ErrClosed if it was
// before. The file of a connection stays when that ends.
func (b *BoundUnix) Dial(ctx context.Context, remote Addr) (*Stream, error) {
	d := &dialJob{remote: remote}
	if !b.take() {
		return nil, d.fail(ErrClosed)
	}
	defer b.file.let()
	s, err := d.on(ctx, b.fd, d.remote.IsUnix())
	if err != nil {
		_ = b.file.remove()
	}
	return s, err
}

// Listen makes the socket listen. It is used up, whatever the outcome, which is that of ListenUnix; ErrClosed if it was before.
func (b *BoundUnix) Listen(c *ListenConfig) (*Listener, error) {
	if !b.take() {
		return nil, &OpError{Op: "listen", Addr: b.local, Err: ErrClosed}
	}
	if c == nil {
		c = &ListenConfig{}
	}
	defer b.file.let()
	var err error
	if c.Mode != 0 && b.file.path != "" {
		if err = b.file.chmod(c.Mode); err != nil {
			_ = unix.Close(b.fd)
		}
	}
	if err == nil {
		err = listenOrClose(b.fd, c)
	}
	if err != nil {
		_ = b.file.remove()
		return nil, &OpError{Op: "listen", Addr: b.local, Err: err}
	}
	file := noFile
	if !c.KeepPath {
		file = b.file
		file.fd = -1 // the socket has the inode
	}
	return newListener(b.fd, file), nil
}

// Close gives the address back, unless the socket was used up.
func (b *BoundUnix) Close() error {
	if !b.take() {
		return nil
	}
	defer b.file.let()
	err := b.file.remove()
	if cerr := unix.Close(b.fd); err == nil {
		err = cerr
	}
	return err
}

func (b *BoundUnix) take() bool { return !b.taken.Swap(true) }
