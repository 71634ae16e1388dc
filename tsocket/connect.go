package tsocket

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// DialTCP connects to remote, an inet address with a port. The zero local Addr
// or the wildcard leaves the choice of the local address to the kernel; the stream's
// LocalAddr tells which it was. The OpError's Err is ErrInvalid for addresses of different
// families or kinds, ErrCanceled or ErrTimeout, or the errno: ECONNREFUSED, ...
func DialTCP(ctx context.Context, local, remote Addr) (*Stream, error) {
	return dial(ctx, tcpEnds, local, remote)
}

// DialTCPSend starts a DialTCP.
func DialTCPSend(ctx context.Context, local, remote Addr) *Request[*Stream] {
	return dialSend(ctx, tcpEnds, local, remote)
}

// DialUnix connects to the unix socket remote. If local is neither the zero
// Addr nor the empty path, the socket is bound to it first; nobody unlinks it afterwards. The
// OpError's Err is ErrInvalid for an address of another kind, or the errno: ENOENT if there is
// no such socket, ECONNREFUSED if nobody listens, EAGAIN if the listener's queue is full.
func DialUnix(ctx context.Context, local, remote Addr) (*Stream, error) {
	return dial(ctx, unixEnds, local, remote)
}

// DialUnixSend starts a DialUnix.
func DialUnixSend(ctx context.Context, local, remote Addr) *Request[*Stream] {
	return dialSend(ctx, unixEnds, local, remote)
}

// tcpEnds and unixEnds check the addresses of a connection; they return the
// local one to use.
func tcpEnds(local, remote Addr) (Addr, bool) {
	if local.IsZero() {
		local = Addr{kind: addrInet, ip: anyFamily.any()}
	}
	return local, local.kind == addrInet && remote.kind == addrInet
}

func unixEnds(local, remote Addr) (Addr, bool) {
	if local.IsZero() {
		local = Addr{kind: addrUnix}
	}
	return local, local.IsUnix() && remote.IsUnix()
}

type endsCheck func(local, remote Addr) (Addr, bool)

func dial(ctx context.Context, check endsCheck, local, remote Addr) (*Stream, error) {
	d, err := startDial(ctx, check, local, remote)
	if err != nil {
		return nil, err
	}
	return d.finish(ctx)
}

// finish waits for the outcome, as long as ctx lets it.
func (d *dialJob) finish(ctx context.Context) (*Stream, error) {
	s, err := d.run(ctx)
	if err == errInterrupted {
		s, err = d.stop(ctxError(ctx))
	}
	return s, err
}

func dialSend(ctx context.Context, check endsCheck, local, remote Addr) *Request[*Stream] {
	d, err := startDial(ctx, check, local, remote)
	switch {
	case err != nil:
		return finished[*Stream](nil, err)
	case !d.waits:
		return finished(d.run(ctx))
	}
	r := newRequest(ctx, job[*Stream](d), true)
	r.promote()
	r.watchParent()
	return r
}

// dialJob is a connection that is being made.
type dialJob struct {
	remote Addr
	s      *Stream
	waits  bool
}

func startDial(ctx context.Context, check endsCheck, local, remote Addr) (*dialJob, error) {
	d := &dialJob{remote: remote}
	if ctx.Err() != nil {
		return nil, d.fail(ctxError(ctx))
	}
	local, ok := check(local, remote)
	if !ok {
		return nil, d.fail(ErrInvalid)
	}
	fd, err := openSocket(unix.SOCK_STREAM, local, remote)
	if err != nil {
		return nil, d.fail(err)
	}
	if err := d.start(fd); err != nil {
		return nil, err
	}
	return d, nil
}

// start begins to connect fd, which it takes.
func (d *dialJob) start(fd int) error {
	err := connect(fd, d.remote)
	if err != nil && err != syscall.EINPROGRESS {
		_ = unix.Close(fd)
		return d.fail(err)
	}
	d.waits = err != nil
	d.s = newFDStream(fd, nil)
	return nil
}

func (d *dialJob) fail(err error) error { return &OpError{Op: "connect", Addr: d.remote, Err: err} }

// run waits until the socket is connected.
func (d *dialJob) run(ctx context.Context) (*Stream, error) {
	if d.waits {
		if err := d.wait(ctx); err != nil {
			if err == errInterrupted {
				return nil, err
			}
			_ = d.s.Close()
			return nil, d.fail(err)
		}
	}
	d.s.fd.names = &names{sockName(d.s.sys.fd), d.remote}
	return d.s, nil
}

// wait waits until the socket is writable, which is when it is known what became
// of the connection.
func (d *dialJob) wait(ctx context.Context) error {
	var op fdOp
	var outcome error
	op.init(d.s.sys, true, func(fd int) bool {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(p[:], 0); n < 1 || err != nil {
			return false
		}
		outcome = sockError(fd)
		return true
	})
	defer op.arm.close()
	for {
		err := op.run(ctx)
		switch {
		case err == nil:
			return outcome
		case err != errInterrupted:
			return err
		case ctx.Err() != nil:
			return errInterrupted
		}
	}
}

// stop gives the connection up.
func (d *dialJob) stop(cause error) (*Stream, error) {
	_ = d.s.Close()
	return nil, d.fail(cause)
}

func (d *dialJob) release() {}
