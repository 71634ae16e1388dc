package tsbench

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/tsocket"
)

// Sizes of what is sent.
const (
	msgSize    = 64
	pduHead    = 4
	pduSize    = 1024
	dgramSize  = 1200
	floodPiece = 50      // datagrams that the peer sends with one call
	batchSize  = 64      // datagrams in a batch
	socketRoom = 8 << 20 // of both buffers of UDP sockets
)

// bench makes the sockets of one case.
type bench struct {
	peer    string
	closers []io.Closer
}

func (b *bench) close() {
	for _, c := range b.closers {
		_ = c.Close()
	}
}

// job hands a descriptor to the peer, and closes it here. The connection ends
// the job when it is closed.
func (b *bench) job(kind byte, fd int) (*net.UnixConn, error) {
	defer unix.Close(fd)
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: b.peer, Net: "unix"})
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, c)
	_, _, err = c.WriteMsgUnix([]byte{kind}, unix.UnixRights(fd), nil)
	return c, err
}

// stream makes a connection of that network with the peer at its other end, doing
// that job, and returns the descriptor of this end.
func (b *bench) stream(network string, kind byte) (int, error) {
	pair := unixPair
	if network == "tcp" {
		pair = tcpPair
	}
	fds, err := pair()
	if err != nil {
		return -1, err
	}
	_, err = b.job(kind, fds[1])
	return fds[0], err
}

// ours makes a stream of ours.
func (b *bench) ours(network string, kind byte) (*tsocket.Stream, error) {
	fd, err := b.stream(network, kind)
	if err != nil {
		return nil, err
	}
	s, err := tsocket.StreamFromFD(fd)
	if err == nil {
		b.closers = append(b.closers, s)
	}
	return s, err
}

// theirs makes a connection of package net.
func (b *bench) theirs(network string, kind byte) (net.Conn, error) {
	fd, err := b.stream(network, kind)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), network)
	defer f.Close()
	c, err := net.FileConn(f)
	if err == nil {
		b.closers = append(b.closers, c)
	}
	return c, err
}

// udp binds a UDP socket to the loopback address.
func (b *bench) udp() (*net.UDPConn, netip.AddrPort, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	b.closers = append(b.closers, c)
	err = roomy(c)
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort(), err
}

// oursUDP is udp for a socket of ours.
func (b *bench) oursUDP() (*tsocket.Dgram, error) {
	c, _, err := b.udp()
	if err != nil {
		return nil, err
	}
	fd, err := dupOf(c)
	if err != nil {
		return nil, err
	}
	d, err := tsocket.DgramFromFD(fd)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, d)
	return d, c.Close()
}

// dupOf returns a duplicate of the descriptor of c.
func dupOf(c *net.UDPConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	if err == nil {
		err = cerr
	}
	return fd, err
}

// roomy enlarges the buffers of c, beyond the system's limit where it is allowed to.
func roomy(c *net.UDPConn) error {
	if err := c.SetReadBuffer(socketRoom); err != nil {
		return err
	}
	if err := c.SetWriteBuffer(socketRoom); err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { forceRoom(int(fd)) })
}

func unixPair() (fds [2]int, err error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
}

// tcpPair returns the two ends of a TCP connection over the loopback interface.
func tcpPair() (fds [2]int, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fds, err
	}
	defer l.Close()
	out, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return fds, err
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		return fds, err
	}
	defer in.Close()
	for i, c := range []net.Conn{out, in} {
		f, err := c.(*net.TCPConn).File()
		if err != nil {
			return fds, err
		}
		if fds[i], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3); err != nil {
			return fds, fmt.Errorf("dup: %w", err)
		}
		_ = f.Close()
	}
	return fds, nil
}
