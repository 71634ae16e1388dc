package tsocket

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FromPacketConn makes a datagram socket of c and takes ownership of it: nobody
// else may use it any more, and its deadlines least of all. A *net.UDPConn or *net.UnixConn
// may be connected, and then sends to the zero Addr.
//
// A datagram of more than 64 KiB from a *net.UnixConn is lost, with the error
// EMSGSIZE, and those of its size arrive afterwards; package net does not tell the size before.
func FromPacketConn(c net.PacketConn) *Dgram {
	o := &packetOps{c: c}
	o.udp, _ = c.(*net.UDPConn)
	o.unix, _ = c.(*net.UnixConn)
	o.local, _ = toAddr(c.LocalAddr())
	if r, ok := c.(interface{ RemoteAddr() net.Addr }); ok {
		if a := r.RemoteAddr(); a != nil {
			o.remote, _ = toAddr(a)
			o.conn, _ = c.(net.Conn)
		}
	}
	o.buf = make([]byte, maxUDP)
	o.rd.kick = func(t time.Time) { _ = c.SetReadDeadline(t) }
	o.wr.kick = func(t time.Time) { _ = c.SetWriteDeadline(t) }
	return NewDgram(o)
}

type packetOps struct {
	c             net.PacketConn
	udp           *net.UDPConn
	unix          *net.UnixConn
	conn          net.Conn // not nil: c is connected
	local, remote Addr
	buf           []byte
	rd, wr        arm

	last    netip.AddrPort // the source of the last datagram, and what it is as an Addr
	lastSrc Addr
}

func (o *packetOps) LocalAddr() Addr  { return o.local }
func (o *packetOps) RemoteAddr() Addr { return o.remote }

// RecvFrom receives into b, if that has room for every datagram.
func (o *packetOps) RecvFrom(ctx context.Context, b []byte) ([]byte, Addr, error) {
	if len(b) < len(o.buf) {
		b = o.buf
	}
	for {
		if !o.rd.begin(ctx) {
			return nil, Addr{}, ctx.Err()
		}
		n, src, err := o.recv(b)
		o.rd.end()
		switch {
		case err == nil:
			return b[:n], src, nil
		case !isDeadline(err):
			return nil, Addr{}, withErrno(err)
		case ctx.Err() != nil:
			return nil, Addr{}, ctx.Err()
		}
	}
}

func (o *packetOps) recv(b []byte) (int, Addr, error) {
	switch {
	case o.udp != nil:
		n, src, err := o.udp.ReadFromUDPAddrPort(b)
		if err != nil {
			return 0, Addr{}, err
		}
		if src != o.last {
			o.last = src
			o.lastSrc, err = AddrFrom(netip.AddrPortFrom(src.Addr().Unmap(), src.Port()))
		}
		return n, o.lastSrc, err
	case o.unix != nil:
		n, _, flags, src, err := o.unix.ReadMsgUnix(b, nil)
		if err != nil {
			return 0, Addr{}, err
		}
		if flags&unix.MSG_TRUNC != 0 {
			o.buf = make([]byte, 2*len(o.buf))
			return 0, Addr{}, syscall.EMSGSIZE
		}
		a, err := AddrFromNet(src)
		return n, a, err
	}
	n, src, err := o.c.ReadFrom(b)
	if err != nil {
		return 0, Addr{}, err
	}
	a, err := toAddr(src)
	return n, a, err
}

// SendTo sends b.
func (o *packetOps) SendTo(ctx context.Context, b []byte, dst Addr) error {
	if o.conn != nil && !dst.IsZero() {
		return syscall.EISCONN
	}
	for {
		if !o.wr.begin(ctx) {
			return ctx.Err()
		}
		err := o.send(b, dst)
		o.wr.end()
		switch {
		case err == nil:
			return nil
		case !isDeadline(err):
			return withErrno(err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

func (o *packetOps) send(b []byte, dst Addr) error {
	var err error
	switch {
	case o.conn != nil:
		_, err = o.conn.Write(b)
	case dst.IsZero():
		return syscall.EDESTADDRREQ
	case o.udp != nil:
		if dst.kind != addrInet || o.local.is4() && !dst.is4() {
			return syscall.EAFNOSUPPORT
		}
		_, err = o.udp.WriteToUDPAddrPort(b, dst.AddrPort())
	default:
		_, err = o.c.WriteTo(b, asNetAddr(dst, "udp", "unixgram"))
	}
	return err
}

// Disconnect closes c.
func (o *packetOps) Disconnect(context.Context) error { return o.Close() }

// Close closes c.
func (o *packetOps) Close() error {
	err := o.c.Close()
	o.rd.close()
	o.wr.close()
	return err
}
