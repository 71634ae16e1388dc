package tsocket

import (
	"bytes"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// SetNotices has RecvFrom and RecvBatch tell what became of datagrams that did
// not arrive: they return a Notice, with the address concerned, once for each (Linux:
// IP_RECVERR). Errors about earlier datagrams then fail no send to somebody else. Without it a
// connected socket gets the bare errno, once, and another one nothing. ErrNotSupported if the
// socket is neither one of UDP nor of NoticeOps.
func (d *Dgram) SetNotices(on bool) error {
	if o, ok := d.ops.(NoticeOps); ok {
		return d.setNotices(o, on)
	}
	s := d.base()
	if s == nil || !s.udp {
		return &OpError{Op: "set notices", Err: ErrNotSupported}
	}
	v := 0
	if on {
		v = 1
	}
	err := s.sys.control(func(fd int) error {
		if s.local.is4() {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, v)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, v)
	})
	if err != nil {
		return &OpError{Op: "set notices", Err: err}
	}
	s.suspect.Store(true)
	s.notices.Store(on)
	return nil
}

// recvNotice takes the next notice from the error queue of the socket, nil if
// there is none.
func recvNotice(fd int) *Notice {
	var data [576]byte
	var oob [256]byte
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, data[:], oob[:], unix.MSG_ERRQUEUE)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil
		}
		if notice := parseNotice(oob[:oobn]); notice != nil {
			notice.Dst, _ = AddrFromSockaddr(from)
			notice.Data = bytes.Clone(data[:n])
			return notice
		}
	}
}

// parseNotice reads a struct sock_extended_err and the address behind it from
// control messages; nil if they hold none that tells of an error.
func parseNotice(oob []byte) *Notice {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
	for _, m := range msgs {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !v4 && !v6 || len(m.Data) < size {
			continue
		}
		var ee unix.SockExtendedErr
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&ee)), size), m.Data)
		switch ee.Origin {
		case unix.SO_EE_ORIGIN_LOCAL, unix.SO_EE_ORIGIN_ICMP, unix.SO_EE_ORIGIN_ICMP6:
		default: // timestamps and the like
			continue
		}
		n := &Notice{Errno: syscall.Errno(ee.Errno), Type: ee.Type, Code: ee.Code}
		if n.Errno == syscall.EMSGSIZE {
			n.MTU = int(ee.Info)
		}
		if a, err := AddrFromRaw(m.Data[size:]); err == nil {
			n.Offender = a // its family is 0 if nobody else is to blame
		}
		return n
	}
	return nil
}
