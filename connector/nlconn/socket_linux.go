package nlconn

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/connector"
)

// Socket is a netlink socket at the level of datagrams: batches in, single
// datagrams out, nothing allocated per message. Receive has one caller at a
// time; the other methods may be called from any goroutine.
type Socket struct {
	nl    *netlink.Conn
	raw   syscall.RawConn
	port  uint32
	proto Protocol
	rx    *receiver
	sends sync.Pool // *sendOp

	closed atomic.Bool
}

// Dial opens a socket.
func Dial(cfg *SocketConfig) (*Socket, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	nc := &netlink.Config{PID: c.Port}
	if c.NetNS != "" {
		ns, err := openNetNS(c.NetNS)
		if err != nil {
			return nil, &connector.OpError{Op: "dial", Err: err}
		}
		defer ns.Close()
		nc.NetNS = int(ns)
	}
	nl, err := netlink.Dial(int(c.Protocol), nc)
	if err != nil {
		return nil, &connector.OpError{Op: "dial", Port: c.Port, Err: fmt.Errorf("%v: %w", c.Protocol, err)}
	}
	s := &Socket{nl: nl, proto: c.Protocol}
	s.sends.New = func() any { return newSendOp() }
	if err := s.setUp(&c); err != nil {
		nl.Close()
		return nil, &connector.OpError{Op: "dial", Port: c.Port, Err: fmt.Errorf("%v: %w", c.Protocol, err)}
	}
	return s, nil
}

func (s *Socket) setUp(c *SocketConfig) error {
	raw, err := s.nl.SyscallConn()
	if err != nil {
		return err
	}
	s.raw = raw
	var serr error
	err = raw.Control(func(fd uintptr) {
		var sa unix.Sockaddr
		if sa, serr = unix.Getsockname(int(fd)); serr == nil {
			s.port = sa.(*unix.SockaddrNetlink).Pid
		}
		if serr == nil && c.Credentials {
			serr = os.NewSyscallError("setsockopt SO_PASSCRED", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
		}
	})
	if err = errors.Join(err, serr); err != nil {
		return err
	}
	if err := s.nl.SetOption(netlink.PacketInfo, true); err != nil {
		return err
	}
	if c.AllNSID {
		if err := s.nl.SetOption(netlink.ListenAllNSID, true); err != nil {
			return err
		}
	}
	if c.ReadBuffer > 0 {
		if err := s.nl.SetReadBuffer(c.ReadBuffer); err != nil {
			return err
		}
	}
	if c.WriteBuffer > 0 {
		if err := s.nl.SetWriteBuffer(c.WriteBuffer); err != nil {
			return err
		}
	}
	s.rx = newReceiver(c.Batch, c.MaxDatagram)
	return nil
}

// Port is the port id that the kernel knows the socket by.
func (s *Socket) Port() uint32 { return s.port }

// Batch is the largest number of datagrams that one Receive returns.
func (s *Socket) Batch() int { return len(s.rx.hdrs) }

// Receive waits for datagrams and puts as many as are there into dst, at most
// Batch. Fewer than min(len(dst), Batch) means that the queue was empty after
// them. It returns ErrOverrun when the kernel dropped
// messages, os.ErrDeadlineExceeded, or an error that wraps connector.ErrClosed.
func (s *Socket) Receive(dst []Datagram) (int, error) {
	if len(dst) == 0 {
		return 0, nil
	}
	r := s.rx
	r.want = min(len(dst), len(r.hdrs))
	if err := s.raw.Read(r.read); err != nil {
		return 0, s.error("receive", err)
	}
	switch {
	case r.errno == unix.ENOBUFS:
		return 0, ErrOverrun
	case r.errno != 0:
		return 0, &connector.OpError{Op: "receive", Port: s.port, Err: os.NewSyscallError("recvmmsg", r.errno)}
	}
	for i := range r.n {
		r.datagram(i, &dst[i])
	}
	return r.n, nil
}

// SetReadDeadline makes Receive return os.ErrDeadlineExceeded at t; the zero
// time ends that.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.nl.SetReadDeadline(t) }

// Join makes the socket a member of group.
func (s *Socket) Join(group uint32) error {
	if err := checkGroup("join", group); err != nil {
		return err
	}
	if err := s.nl.JoinGroup(group); err != nil {
		return &connector.OpError{Op: "join", Group: group, Err: s.joinError(err)}
	}
	return nil
}

// Leave ends the membership.
func (s *Socket) Leave(group uint32) error {
	if err := checkGroup("leave", group); err != nil {
		return err
	}
	if err := s.nl.LeaveGroup(group); err != nil {
		return &connector.OpError{Op: "leave", Group: group, Err: s.joinError(err)}
	}
	return nil
}

func (s *Socket) joinError(err error) error {
	switch {
	case s.closed.Load():
		return connector.ErrClosed
	case errors.Is(err, unix.EPERM):
		// Since 6.2 the connector's test takes the number for a mask.
		return fmt.Errorf("%w: without CAP_NET_ADMIN NETLINK_CONNECTOR has only odd groups (before 6.2 none), NETLINK_USERSOCK none: %w", connector.ErrPermission, err)
	}
	return err
}

// SetReadBuffer asks for a receive buffer of n bytes, beyond the system's limit
// where privilege allows, and returns what the kernel made of it (it
// doubles what it grants).
func (s *Socket) SetReadBuffer(n int) (int, error) {
	if err := s.nl.SetReadBuffer(n); err != nil {
		return 0, s.error("set read buffer", err)
	}
	return s.ReadBuffer()
}

// ReadBuffer is the size of the receive buffer. A message of 76 bytes takes 832 of it.
func (s *Socket) ReadBuffer() (int, error) {
	n, err := s.nl.ReadBuffer()
	if err != nil {
		return 0, s.error("read buffer", err)
	}
	return n, nil
}

// SetBPF attaches a classic filter. What it refuses is not counted by Drops.
func (s *Socket) SetBPF(prog []bpf.RawInstruction) error {
	if err := s.nl.SetBPF(prog); err != nil {
		return s.error("set filter", err)
	}
	return nil
}

// Close closes the socket; a Receive that waits returns.
func (s *Socket) Close() error {
	s.closed.Store(true)
	if err := s.nl.Close(); err != nil {
		return s.error("close", err)
	}
	return nil
}

// error names what failed. Of a closed socket the poller says so in several ways.
func (s *Socket) error(op string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case s.closed.Load():
		err = connector.ErrClosed
	}
	return &connector.OpError{Op: op, Err: err}
}
