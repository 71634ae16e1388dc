package relay

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch   = 32
	maxData = 65535
)

// An addr is a socket address as the kernel has it.
type addr struct {
	raw [unix.SizeofSockaddrInet6]byte
	n   uint32
}

func addrOf(a netip.AddrPort) addr {
	var s addr
	binary.BigEndian.PutUint16(s.raw[2:], a.Port())
	if ip := a.Addr().Unmap(); ip.Is4() {
		binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET)
		b := ip.As4()
		copy(s.raw[4:], b[:])
		s.n = unix.SizeofSockaddrInet4
	} else {
		binary.NativeEndian.PutUint16(s.raw[:], unix.AF_INET6)
		b := ip.As16()
		copy(s.raw[8:], b[:])
		s.n = unix.SizeofSockaddrInet6
	}
	return s
}

func (s *addr) addrPort() netip.AddrPort {
	port := binary.BigEndian.Uint16(s.raw[2:])
	if s.n == unix.SizeofSockaddrInet4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.raw[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s.raw[8:24])), port)
}

// mmsghdr is that of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// messages are the arguments of recvmmsg and sendmmsg.
type messages struct {
	hdrs [batch]mmsghdr
	iovs [batch]unix.Iovec
	from [batch]addr
	bufs [batch][]byte
}

func newMessages() *messages {
	m := &messages{}
	for i := range m.bufs {
		m.bufs[i] = make([]byte, maxData)
	}
	return m
}

// receive takes what there is, up to a batch.
func (m *messages) receive(fd int) (int, error) {
	for i := range m.hdrs {
		m.iovs[i].Base = &m.bufs[i][0]
		m.iovs[i].SetLen(maxData)
		h := &m.hdrs[i].hdr
		h.Name, h.Namelen = &m.from[i].raw[0], uint32(len(m.from[i].raw))
		h.Iov = &m.iovs[i]
		h.SetIovlen(1)
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdrs)), batch, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	for i := range int(n) {
		m.from[i].n = m.hdrs[i].hdr.Namelen
	}
	return int(n), nil
}

func (m *messages) data(i int) []byte { return m.bufs[i][:m.hdrs[i].n] }

// set makes the i-th message to send. A nil to is the address that the socket is connected to.
func (m *messages) set(i int, data []byte, to *addr) {
	h := &m.hdrs[i].hdr
	h.Name, h.Namelen = nil, 0
	if to != nil {
		h.Name, h.Namelen = &to.raw[0], to.n
	}
	m.iovs[i].Base = unsafe.SliceData(data)
	m.iovs[i].SetLen(len(data))
	h.Iov = &m.iovs[i]
	h.SetIovlen(1)
}

// send sends the first n messages and returns how many the kernel took before
// it had something against one.
func (m *messages) send(fd, n int) (int, error) {
	sent, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.hdrs)), uintptr(n), 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(sent), nil
}

// socket opens a UDP socket for addresses like a, with room for bursts.
func socket(a netip.AddrPort) (int, error) {
	family := unix.AF_INET6
	if a.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("relay: socket: %w", err)
	}
	for _, opt := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 8<<20)
	}
	for _, opt := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, 8<<20) // for those who may
	}
	return fd, nil
}

func bindTo(fd int, a netip.AddrPort) error {
	s := addrOf(a)
	return s.syscall(unix.SYS_BIND, fd)
}

func connectTo(fd int, a netip.AddrPort) error {
	s := addrOf(a)
	return s.syscall(unix.SYS_CONNECT, fd)
}

func (s *addr) syscall(trap uintptr, fd int) error {
	if _, _, e := unix.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&s.raw)), uintptr(s.n)); e != 0 {
		return e
	}
	return nil
}

func localAddr(fd int) (netip.AddrPort, error) {
	var s addr
	s.n = uint32(len(s.raw))
	if _, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&s.raw)), uintptr(unsafe.Pointer(&s.n))); e != 0 {
		return netip.AddrPort{}, e
	}
	return s.addrPort(), nil
}
