package tsocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// AsNetConn returns s as a net.Conn, so that crypto/tls, net/http and the like
// run on it. Close closes s; a stream that is built on another one (TLS) says first that it ends, for which it
// waits at most 5 seconds, unless somebody reads or writes. Any number of goroutines may read and write at a time:
// they wait for each other.
//
// The net.Conn has the rules of package net, and s has them from now on: the two
// directions live on their own (SetHalfOpen), and a write that is cut off by a deadline returns how
// much was written, and the next one goes on behind that (CancelLoses). The end of the stream is
// io.EOF; other errors are a *net.OpError.
//
// It has the methods CloseWrite() error, PendingBytes() (int, error) and PeerCred() (Cred, error) too.
func AsNetConn(s *Stream) net.Conn {
	s.SetHalfOpen(true)
	s.SetCancelRule(CancelLoses)
	return &netConn{s: s}
}

type netConn struct {
	s        *Stream
	rmu, wmu sync.Mutex // held by the read, the write that is running
	rd, wd   netDeadline
}

func (c *netConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	ctx := c.rd.context()
	if ctx.Err() != nil {
		return 0, c.fail("read", ctx, os.ErrDeadlineExceeded)
	}
	n, err := c.s.ReadSome(ctx, b)
	if err != nil {
		err = c.fail("read", ctx, err)
	}
	return n, err
}

func (c *netConn) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	ctx := c.wd.context()
	if ctx.Err() != nil {
		return 0, c.fail("write", ctx, os.ErrDeadlineExceeded)
	}
	n, err := c.s.Writev(ctx, b)
	if err != nil {
		err = c.fail("write", ctx, err)
	}
	return int(n), err
}

// PeerCred is that of the stream.
func (c *netConn) PeerCred() (Cred, error) { return c.s.PeerCred() }

// fail turns an error of the stream into one of package net.
func (c *netConn) fail(op string, ctx context.Context, err error) error {
	err = netCause(hasEnded(ctx), err)
	if err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

func hasEnded(ctx context.Context) bool { return ctx != nil && ctx.Err() != nil }

// netCause returns the name that package net has for err; late says that a
// deadline has passed.
func netCause(late bool, err error) error {
	switch cause := Cause(err); {
	case cause == ErrEOF:
		return io.EOF
	case late && isErr(cause, ErrCanceled):
		return os.ErrDeadlineExceeded
	case isErr(cause, net.ErrClosed):
		return net.ErrClosed
	default:
		return cause
	}
}

// Close closes the stream.
func (c *netConn) Close() error {
	c.rd.drop()
	c.wd.drop()
	if c.s.word.has(bitClosed) {
		return c.fail("close", nil, net.ErrClosed)
	}
	c.sayGoodbye()
	if err := c.s.Close(); err != nil {
		return c.fail("close", nil, err)
	}
	return nil
}

// goodbye is how long Close waits for a peer that takes nothing: as long as that of
// crypto/tls.
const goodbye = 5 * time.Second

// sayGoodbye ends a stream that is built on another one in the orderly way, for whoever uses a
// net.Conn expects that what was written arrives, and then the end. A stream of the system does that by
// itself. Somebody who reads or writes has given up on it.
func (c *netConn) sayGoodbye() {
	if c.s.try != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = c.s.Disconnect(ctx)
}

// CloseWrite tells the peer that nothing more will be written.
func (c *netConn) CloseWrite() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	ctx := c.wd.context()
	if err := c.s.CloseWrite(ctx); err != nil {
		return c.fail("close write", ctx, err)
	}
	return nil
}

// PendingBytes returns how many bytes can be read without waiting.
func (c *netConn) PendingBytes() (int, error) { return c.s.PendingBytes() }

func (c *netConn) LocalAddr() net.Addr  { return asNetAddr(c.s.LocalAddr(), "tcp", "unix") }
func (c *netConn) RemoteAddr() net.Addr { return asNetAddr(c.s.RemoteAddr(), "tcp", "unix") }

func (c *netConn) SetDeadline(t time.Time) error {
	c.rd.set(t)
	c.wd.set(t)
	return c.deadlineErr()
}

func (c *netConn) SetReadDeadline(t time.Time) error {
	c.rd.set(t)
	return c.deadlineErr()
}

func (c *netConn) SetWriteDeadline(t time.Time) error {
	c.wd.set(t)
	return c.deadlineErr()
}

func (c *netConn) deadlineErr() error {
	if c.s.word.has(bitClosed) {
		return c.fail("set deadline", nil, net.ErrClosed)
	}
	return nil
}

// asNetAddr returns a as package net has it. It is never nil.
func asNetAddr(a Addr, inet, unix string) net.Addr {
	network := inet
	if a.IsUnix() {
		network = unix
	}
	if n := a.NetAddr(network); n != nil {
		return n
	}
	return otherAddr{a}
}

// otherAddr is the address of a socket that package net does not know.
type otherAddr struct{ a Addr }

func (o otherAddr) Network() string { return "tsocket" }
func (o otherAddr) String() string  { return o.a.String() }

// withErrno makes sure that an error of a net.Conn has an errno: EPIPE for one
// that only says that the other side is closed.
func withErrno(err error) error {
	if isErr(err, io.ErrClosedPipe) {
		return &Error{syscall.EPIPE, err, err.Error()}
	}
	return err
}

// isDeadline reports whether err of a net.Conn says that its deadline has
// passed, rather than that the connection has timed out.
func isDeadline(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}
