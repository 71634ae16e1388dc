package tsocket

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listener accepts streams. C's library has none. One accept may be outstanding
// at a time; another one fails with ErrBusy.
type Listener struct {
	sys    sysfd
	op     fdOp
	named  *names // of the stream that was accepted last
	local  Addr
	file   sockFile // that Close unlinks; or none
	word   word
	home   home
	fd     int
	remote Addr
	errno  error
	closed atomic.Bool
	lane   lane
	parked atomic.Pointer[Request[*Stream]]
}

// ListenConfig is how a Listener is made; nil is all defaults.
type ListenConfig struct {
	// Backlog is how many connections wait to be accepted; 0 is the most that
	// the system allows.
	Backlog int
	// ReusePort lets several listeners share an inet port (SO_REUSEPORT).
	ReusePort bool
	// KeepPath leaves the file of a unix socket behind when the listener is
	// closed. Otherwise it is unlinked, as package net does, if it is the socket's still.
	KeepPath bool
	// Mode is the permission bits of the file of a unix socket, whatever the umask is, set
	// before anybody can connect; 0 leaves them to the umask. ESTALE if somebody has put another file into its place.
	Mode os.FileMode
}

// ListenTCP listens on local, an inet address; port 0 takes a free one, which
// Addr tells. An IPv6 socket is for IPv6 only.
func ListenTCP(local Addr, c *ListenConfig) (*Listener, error) {
	if local.kind != addrInet {
		return nil, &OpError{Op: "listen", Addr: local, Err: ErrInvalid}
	}
	return listen(local, c)
}

// ListenUnix listens on local, a path or an abstract name; EADDRINUSE if the
// path exists.
func ListenUnix(local Addr, c *ListenConfig) (*Listener, error) {
	if !local.IsUnix() || local.path == "" {
		return nil, &OpError{Op: "listen", Addr: local, Err: ErrInvalid}
	}
	return listen(local, c)
}

func listen(local Addr, c *ListenConfig) (*Listener, error) {
	if c == nil {
		c = &ListenConfig{}
	}
	if local.IsUnix() {
		b, err := bindUnix(local, c.Mode)
		if err != nil {
			return nil, &OpError{Op: "listen", Addr: local, Err: err}
		}
		return b.Listen(c)
	}
	fd, err := openListener(local, c)
	if err != nil {
		return nil, &OpError{Op: "listen", Addr: local, Err: err}
	}
	return newListener(fd, noFile), nil
}

func openListener(local Addr, c *ListenConfig) (fd int, err error) {
	if c.ReusePort {
		fd, err = bindReusePort(local)
	} else {
		fd, err = openSocket(unix.SOCK_STREAM, local, Addr{})
	}
	if err != nil {
		return fd, err
	}
	return fd, listenOrClose(fd, c)
}

// bindReusePort sets the option before the socket is bound, when it counts.
func bindReusePort(local Addr) (int, error) {
	anyPort := local
	anyPort.port, anyPort.ip = 0, family4.any()
	if !local.is4() {
		anyPort.ip = family6.any()
	}
	fd, err := openSocket(unix.SOCK_STREAM, anyPort, Addr{})
	if err != nil {
		return fd, err
	}
	for _, opt := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 1); err != nil {
			break
		}
	}
	if err == nil {
		err = bind(fd, local)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func listenOrClose(fd int, c *ListenConfig) error {
	backlog := c.Backlog
	if backlog <= 0 {
		backlog = 1 << 16 // the kernel takes the most it allows instead
	}
	err := unix.Listen(fd, min(backlog, maxBacklog))
	if err != nil {
		_ = unix.Close(fd)
	}
	return err
}

// maxBacklog: older kernels count in 16 bits.
const maxBacklog = 1<<16 - 1

// ListenerFromFD makes a listener of a listening stream socket, as from socket
// activation, and takes ownership of the descriptor, which becomes non-blocking. Its path is not
// unlinked.
func ListenerFromFD(fd int) (*Listener, error) {
	const op = "listener of a descriptor"
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && on == 0 {
		err = ErrInvalid
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, &OpError{Op: op, Err: err}
	}
	return newListener(fd, noFile), nil
}

func newListener(fd int, file sockFile) *Listener {
	l := &Listener{local: sockName(fd), file: file}
	l.sys.fd = fd
	l.op.init(&l.sys, false, l.tryAccept)
	return l
}

// Addr returns the address that the listener is bound to.
func (l *Listener) Addr() Addr { return l.local }

// tryAccept accepts once; false: it would wait.
func (l *Listener) tryAccept(fd int) bool {
	for {
		n, peer, errno := accept(fd)
		switch errno {
		case 0:
			l.fd, l.remote, l.errno = n, peer, nil
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENOPROTOOPT,
			syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH:
			// The connection that was next has failed already: see accept(2).
			continue
		}
		l.errno = errno
		return true
	}
}

// Accept waits for the next stream. The OpError's Err is ErrBusy, ErrClosed,
// ErrCanceled, ErrTimeout or an errno: after EMFILE, ENFILE, ENOBUFS and ENOMEM the connection is
// still waiting, and the caller should wait a little too.
func (l *Listener) Accept(ctx context.Context) (*Stream, error) {
	if err := l.word.enter(bitIn, mayRead); err != nil {
		return nil, l.fail(err)
	}
	s, err := l.run(ctx)
	if err == errInterrupted {
		s, err = l.stop(ctxError(ctx))
	}
	l.release()
	return s, err
}

// AcceptSend starts an Accept.
func (l *Listener) AcceptSend(ctx context.Context) *Request[*Stream] {
	if err := l.word.enter(bitIn, mayRead); err != nil {
		return finishedAt[*Stream](&l.home, nil, l.fail(err))
	}
	if ctx.Err() != nil {
		l.release()
		return finishedAt[*Stream](&l.home, nil, l.fail(ctxError(ctx)))
	}
	if done, err := l.op.now(); done {
		s, err := l.outcome(err)
		l.release()
		return finishedAt(&l.home, s, err)
	}
	r := newRequest(ctx, job[*Stream](l), true)
	r.settleIn(&l.home)
	if r.waitIn(&l.sys, false) {
		r.watchParent()
		return r
	}
	l.parked.Store(r)
	if l.closed.Load() {
		r.halt(ErrClosed)
		return r
	}
	l.lane.start(r)
	r.watchParent()
	return r
}

func (l *Listener) try() (*Stream, error) {
	done, err := l.op.now()
	if !done {
		return nil, errInterrupted
	}
	return l.outcome(err)
}

func (l *Listener) run(ctx context.Context) (*Stream, error) {
	for {
		err := l.op.run(ctx)
		switch {
		case err != errInterrupted:
			return l.outcome(err)
		case ctx.Err() != nil:
			return nil, err
		}
	}
}

func (l *Listener) outcome(err error) (*Stream, error) {
	if err == nil {
		err = l.errno
	}
	if l.closed.Load() {
		if err == nil {
			_ = unix.Close(l.fd)
		}
		err = ErrClosed
	}
	if err != nil {
		return nil, l.fail(err)
	}
	local := l.local
	if local.kind == addrInet {
		local = sockName(l.fd) // the listener's may be the wildcard
	}
	if n := (names{local, l.remote}); l.named == nil || *l.named != n {
		l.named = &n
	}
	return newFDStream(l.fd, l.named), nil
}

func (l *Listener) fail(err error) error { return &OpError{Op: "accept", Addr: l.local, Err: err} }

func (l *Listener) stop(cause error) (*Stream, error) { return nil, l.fail(cause) }

func (l *Listener) release() {
	l.parked.Store(nil)
	l.word.leave(bitIn)
}

// Close stops listening. An outstanding accept fails with ErrClosed.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.word.v.Or(bitClosed)
	err := l.file.remove()
	l.sys.close()
	l.op.arm.close()
	if r := l.parked.Load(); r != nil {
		r.halt(ErrClosed)
	}
	return err
}

// TryAccept is Accept that does not wait: where it would, it fails with ErrAgain. It is for
// who waits by other means, as by Loop.Watch.
func (l *Listener) TryAccept() (*Stream, error) {
	if err := l.word.enter(bitIn, mayRead); err != nil {
		return nil, l.fail(err)
	}
	defer l.word.leave(bitIn)
	done, err := l.op.now()
	if !done {
		return nil, errAcceptAgain
	}
	return l.outcome(err)
}
