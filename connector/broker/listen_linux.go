package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
)

// listen opens the socket, or takes those that were handed over.
func (b *Broker) listen() error {
	files := b.cfg.Listeners
	if len(files) == 0 {
		f, lock, err := openSocket(b.cfg.Socket)
		if err != nil {
			return err
		}
		b.lock, b.path = lock, lock.path
		files = []*os.File{f}
	}
	for _, f := range files {
		fd := int(f.Fd())
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("broker: listener %s: %w", f.Name(), err)
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v == 0 {
			return fmt.Errorf("broker: %s is no listening socket", f.Name())
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || v != unix.AF_UNIX {
			return fmt.Errorf("broker: %s is no unix socket", f.Name())
		}
		if err := b.loop.watch(fd, unix.EPOLLIN); err != nil {
			return err
		}
		b.loop.listeners[int32(fd)] = &listener{fd: fd, owner: f, cred: peerCred}
	}
	return nil
}

func (b *Broker) cleanup() {
	for _, f := range b.cfg.Listeners {
		f.Close()
	}
	if b.lock != nil {
		b.lock.release()
	}
}

// peerCred asks the kernel who connected.
func peerCred(fd int) (connector.Cred, []uint32, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return connector.Cred{}, nil, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	return connector.Cred{UID: u.Uid, GID: u.Gid, PID: uint32(u.Pid)}, peerGroups(fd), nil
}

// pair makes a client of the process itself.
func (l *loop) pair(ctx context.Context) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("broker: socketpair: %w", err)
	}
	f := os.NewFile(uintptr(fds[1]), "cnbus")
	defer f.Close()
	ours := fds[0]
	conn, err := net.FileConn(f)
	if err != nil {
		unix.Close(ours)
		return nil, fmt.Errorf("broker: socketpair: %w", err)
	}
	if err := l.do(ctx, func() { l.adopt(ours, l.hub.self, nil) }); err != nil {
		conn.Close()
		if errors.Is(err, connector.ErrClosed) {
			unix.Close(ours)
		}
		return nil, err
	}
	return conn, nil
}
