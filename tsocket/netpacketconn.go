package tsocket

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// AsPacketConn returns d as a net.PacketConn. Close closes d. Any number of
// goroutines may receive and send at a time: they wait for each other.
//
// WriteTo sends to the peer that d is connected to where addr is nil. Two things
// differ from package net: a datagram that is larger than the buffer is cut off, but not
// silently, the error being io.ErrShortBuffer then; and an empty datagram cannot be sent.
func AsPacketConn(d *Dgram) net.PacketConn { return &netPacketConn{d: d} }

type netPacketConn struct {
	d        *Dgram
	rmu, wmu sync.Mutex // held by the receive, the send that is running
	rd, wd   netDeadline
}

func (c *netPacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	ctx := c.rd.context()
	if ctx.Err() != nil {
		return 0, nil, c.fail("read", nil, ctx, os.ErrDeadlineExceeded)
	}
	n, src, err := c.d.RecvFrom(ctx, b)
	if room, ok := Cause(err).(*RoomError); ok {
		whole := make([]byte, room.Need)
		if _, src, err = c.d.RecvFrom(ctx, whole); err == nil {
			n, err = copy(b, whole), io.ErrShortBuffer
		}
	}
	from := asNetAddr(src, "udp", "unixgram")
	if err != nil {
		return n, from, c.fail("read", from, ctx, err)
	}
	return n, from, nil
}

func (c *netPacketConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	dst, err := toAddr(addr)
	if err != nil {
		return 0, c.fail("write", addr, nil, err)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	ctx := c.wd.context()
	if ctx.Err() != nil {
		return 0, c.fail("write", addr, ctx, os.ErrDeadlineExceeded)
	}
	n, err := c.d.SendTo(ctx, b, dst)
	if err != nil {
		return n, c.fail("write", addr, ctx, err)
	}
	return n, nil
}

// toAddr is AddrFromNet for any address that an adapter has given.
func toAddr(a net.Addr) (Addr, error) {
	if o, ok := a.(otherAddr); ok {
		return o.a, nil
	}
	return AddrFromNet(a)
}

func (c *netPacketConn) fail(op string, addr net.Addr, ctx context.Context, err error) error {
	local := c.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: addr, Err: netCause(hasEnded(ctx), err)}
}

func (c *netPacketConn) Close() error {
	c.rd.drop()
	c.wd.drop()
	if c.d.word.has(bitClosed) {
		return c.fail("close", nil, nil, net.ErrClosed)
	}
	if err := c.d.Close(); err != nil {
		return c.fail("close", nil, nil, err)
	}
	return nil
}

func (c *netPacketConn) LocalAddr() net.Addr { return asNetAddr(c.d.LocalAddr(), "udp", "unixgram") }

func (c *netPacketConn) SetDeadline(t time.Time) error {
	c.rd.set(t)
	c.wd.set(t)
	return c.deadlineErr()
}

func (c *netPacketConn) SetReadDeadline(t time.Time) error {
	c.rd.set(t)
	return c.deadlineErr()
}

func (c *netPacketConn) SetWriteDeadline(t time.Time) error {
	c.wd.set(t)
	return c.deadlineErr()
}

func (c *netPacketConn) deadlineErr() error {
	if c.d.word.has(bitClosed) {
		return c.fail("set deadline", nil, nil, net.ErrClosed)
	}
	return nil
}
