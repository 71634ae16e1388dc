package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/tsocket"
)

// listen opens the socket, or takes those that were handed over.
func (b *Broker) listen() error {
	if len(b.cfg.Listeners) == 0 {
		ln, lock, err := openSocket(b.cfg.Socket)
		if err != nil {
			return err
		}
		b.lock, b.path = lock, lock.path
		if err := b.loop.listenOn(ln); err != nil {
			_ = ln.Close()
			b.cleanup()
			return err
		}
		return nil
	}
	for _, f := range b.cfg.Listeners {
		ln, err := handedOver(f)
		if err != nil {
			return err
		}
		if err := b.loop.listenOn(ln); err != nil {
			_ = ln.Close()
			return err
		}
	}
	return nil
}

// handedOver makes a listener of a descriptor that remains its owner's.
func handedOver(f *os.File) (*tsocket.Listener, error) {
	fd, err := duplicate(f)
	if err != nil {
		return nil, fmt.Errorf("broker: listener %s: %w", f.Name(), err)
	}
	ln, err := tsocket.ListenerFromFD(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("broker: %s is no listening socket: %w", f.Name(), err)
	}
	if !ln.Addr().IsUnix() {
		_ = ln.Close()
		return nil, fmt.Errorf("broker: %s is no unix socket", f.Name())
	}
	return ln, nil
}

func duplicate(f *os.File) (fd int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := c.Control(func(n uintptr) { fd, err = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

func (b *Broker) cleanup() {
	if b.tls != nil {
		b.tls.stop()
	}
	for _, f := range b.cfg.Listeners {
		f.Close()
	}
	if b.lock != nil {
		b.lock.release()
	}
}

// pair makes a client of the process itself.
func (l *loop) pair(ctx context.Context) (net.Conn, error) {
	ours, theirs, err := tsocket.SocketPair()
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	defer theirs.Close()
	var conn net.Conn
	err = theirs.SyscallFD(func(fd int) error {
		fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "cnbus")
		defer f.Close()
		conn, err = net.FileConn(f)
		return err
	})
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("broker: socketpair: %w", err)
	}
	if err := l.do(ctx, func() { l.adopt(ours, l.hub.self, nil) }); err != nil {
		_ = conn.Close()
		if errors.Is(err, connector.ErrClosed) {
			_ = ours.Close()
		}
		return nil, err
	}
	return conn, nil
}
