package tsocket

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// FromNetConn makes a stream of c and takes ownership of it: nobody else may
// use it any more, and its deadlines least of all. Each read and write is one of c's, cut off by a
// deadline where its context ends; c has to be one that works on afterwards, which those of
// package net are, but a *tls.Conn after a write is not: put TLS on a Stream with package tlsstream.
//
// PendingBytes counts what the kernel holds if c has a descriptor (syscall.Conn).
// Otherwise it counts what a read of up to a millisecond has got.
func FromNetConn(c net.Conn) *Stream {
	o := &connOps{c: c}
	if sc, ok := c.(syscall.Conn); ok {
		o.raw, _ = sc.SyscallConn()
	}
	o.local, _ = AddrFromNet(c.LocalAddr())
	o.remote, _ = AddrFromNet(c.RemoteAddr())
	o.rd.kick = func(t time.Time) { _ = c.SetReadDeadline(t) }
	o.wr.kick = func(t time.Time) { _ = c.SetWriteDeadline(t) }
	if o.raw != nil && o.vectored() {
		return NewStream(newRawConnOps(o))
	}
	return NewStream(o)
}

type connOps struct {
	c             net.Conn
	raw           syscall.RawConn // nil: c has no descriptor
	local, remote Addr

	rmu     sync.Mutex // held by the read, or the probe, that is running; guards the next three
	ahead   []byte     // what a probe has read
	probe   []byte
	readErr error // what comes after ahead
	rd      arm

	vec  net.Buffers // of the write that is running
	join []byte
	wr   arm
}

func (o *connOps) LocalAddr() Addr  { return o.local }
func (o *connOps) RemoteAddr() Addr { return o.remote }

// ReadSome reads into the first vector that is not empty.
func (o *connOps) ReadSome(ctx context.Context, bufs [][]byte) (int, error) {
	o.rmu.Lock()
	defer o.rmu.Unlock()
	for len(bufs[0]) == 0 {
		bufs = bufs[1:]
	}
	if len(o.ahead) > 0 {
		n := copy(bufs[0], o.ahead)
		o.ahead = o.ahead[n:]
		return n, nil
	}
	for o.readErr == nil {
		if !o.rd.begin(ctx) {
			return 0, ctx.Err()
		}
		n, err := o.c.Read(bufs[0])
		o.rd.end()
		if err != nil && !isDeadline(err) {
			o.readErr = withErrno(err)
		}
		switch {
		case n > 0:
			return n, nil
		case err != nil && ctx.Err() != nil:
			return 0, ctx.Err()
		}
	}
	return 0, o.readErr
}

// joinMax is how much is copied together to be written at once, where a conn
// would make a call, or a record, of each vector.
const joinMax = 64 << 10

// Writev writes all.
func (o *connOps) Writev(ctx context.Context, bufs [][]byte) (int64, error) {
	o.gather(bufs)
	defer func() { clear(o.vec); o.vec = o.vec[:0] }()
	var sum int64
	left := o.vec
	for len(left) > 0 {
		if !o.wr.begin(ctx) {
			return sum, ctx.Err()
		}
		n, err := o.write(&left)
		o.wr.end()
		sum += n
		switch {
		case err == nil:
		case !isDeadline(err):
			return sum, withErrno(err)
		case ctx.Err() != nil:
			return sum, ctx.Err()
		}
	}
	return sum, nil
}

// gather makes vec of bufs: their copy joined, if they are small.
func (o *connOps) gather(bufs [][]byte) {
	o.vec = append(o.vec[:0], bufs...)
	if len(bufs) == 1 || o.vectored() {
		return
	}
	sum := 0
	for _, b := range bufs {
		if sum += len(b); sum > joinMax {
			return
		}
	}
	o.join = o.join[:0]
	for _, b := range bufs {
		o.join = append(o.join, b...)
	}
	clear(o.vec)
	o.vec = append(o.vec[:0], o.join)
}

// vectored reports whether c writes several vectors with one call.
func (o *connOps) vectored() bool {
	switch o.c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// write writes from the front of left, and takes off what was written.
func (o *connOps) write(left *net.Buffers) (int64, error) {
	if len(*left) > 1 && o.vectored() {
		return left.WriteTo(o.c)
	}
	b := (*left)[0]
	if len(b) == 0 {
		*left = (*left)[1:]
		return 0, nil
	}
	n, err := o.c.Write(b)
	*left = advance(*left, n)
	return int64(n), err
}

// probeTime is how long a probe waits: a deadline that has passed already would
// keep the conn from looking at all.
const probeTime = time.Millisecond

// Pending asks the kernel, a stream below, or reads ahead a little.
func (o *connOps) Pending() (int, error) {
	if p, ok := o.c.(interface{ PendingBytes() (int, error) }); ok {
		n, err := p.PendingBytes()
		return n, Cause(err)
	}
	if !o.rmu.TryLock() {
		return 0, nil // somebody is waiting for the first byte
	}
	defer o.rmu.Unlock()
	switch {
	case len(o.ahead) > 0:
		return len(o.ahead), nil
	case o.readErr != nil:
		return 0, endOf(o.readErr)
	case o.raw != nil:
		return o.pendingInKernel()
	}
	if o.probe == nil {
		o.probe = make([]byte, 4<<10)
	}
	_ = o.c.SetReadDeadline(time.Now().Add(probeTime))
	n, err := o.c.Read(o.probe)
	_ = o.c.SetReadDeadline(time.Time{})
	o.ahead = o.probe[:n]
	if err != nil && !isDeadline(err) {
		o.readErr = withErrno(err)
	}
	if n == 0 && o.readErr != nil {
		return 0, endOf(o.readErr)
	}
	return n, nil
}

func endOf(err error) error {
	if err == io.EOF {
		return ErrEOF
	}
	return err
}

func (o *connOps) pendingInKernel() (n int, err error) {
	cerr := o.raw.Control(func(fd uintptr) {
		if n, err = queued(int(fd)); err == nil && n == 0 {
			if why, _ := brokenBy(int(fd)); why != 0 {
				err = why
			}
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return n, err
}

// Disconnect closes c.
func (o *connOps) Disconnect(context.Context) error { return o.Close() }

// Close closes c.
func (o *connOps) Close() error {
	err := o.c.Close()
	o.rd.close()
	o.wr.close()
	return err
}

// CloseWrite works if c has such a method.
func (o *connOps) CloseWrite(context.Context) error {
	c, ok := o.c.(interface{ CloseWrite() error })
	if !ok {
		return ErrNotSupported
	}
	return withErrno(c.CloseWrite())
}
