//go:build linux

package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From the public header <linux/rxrpc.h>.
const (
	afRXRPC  = 33
	solRXRPC = 272

	// setsockopt
	optSecurityKey        = 1
	optSecurityKeyring    = 2
	optExclusive          = 3
	optMinSecurityLevel   = 4
	optUpgradeableService = 5
	optSupportedCmsg      = 6

	// cmsg
	cUserCallID     = 1
	cAbort          = 2
	cAck            = 3
	cNetError       = 5
	cBusy           = 6
	cLocalError     = 7
	cNewCall        = 8
	cAcceptOld      = 9 // RXRPC_ACCEPT: removed from the uapi header in 5.10
	cExclusiveCall  = 10
	cUpgradeService = 11
	cTxLength       = 12
	cSetCallTimeout = 13
	cChargeAccept   = 14

	msgMore = 0x8000
	msgEOR  = 0x80
)

var cmsgName = map[int32]string{
	1: "USER_CALL_ID", 2: "ABORT", 3: "ACK", 5: "NET_ERROR", 6: "BUSY",
	7: "LOCAL_ERROR", 8: "NEW_CALL", 9: "ACCEPT", 10: "EXCLUSIVE_CALL", 11: "UPGRADE_SERVICE",
	12: "TX_LENGTH", 13: "SET_CALL_TIMEOUT", 14: "CHARGE_ACCEPT",
}

const sockaddrLen = 36

// sockaddr_rxrpc is always 36 bytes (union sized for sockaddr_in6); the
// kernel wants the full length even for IPv4.
func sockaddr(ap netip.AddrPort, service uint16) [sockaddrLen]byte {
	var b [sockaddrLen]byte
	le := binary.NativeEndian
	le.PutUint16(b[0:], afRXRPC)
	le.PutUint16(b[2:], service)
	le.PutUint16(b[4:], syscall.SOCK_DGRAM)
	if ap.Addr().Is4() {
		le.PutUint16(b[6:], 16)
		le.PutUint16(b[8:], syscall.AF_INET)
		binary.BigEndian.PutUint16(b[10:], ap.Port())
		a := ap.Addr().As4()
		copy(b[12:], a[:])
	} else {
		le.PutUint16(b[6:], 28)
		le.PutUint16(b[8:], syscall.AF_INET6)
		binary.BigEndian.PutUint16(b[10:], ap.Port())
		a := ap.Addr().As16()
		copy(b[16:], a[:])
	}
	return b
}

func parseSockaddr(b []byte) (ap netip.AddrPort, service uint16) {
	if len(b) < 16 {
		return
	}
	le := binary.NativeEndian
	service = le.Uint16(b[2:])
	port := binary.BigEndian.Uint16(b[10:])
	switch le.Uint16(b[8:]) {
	case syscall.AF_INET:
		ap = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), port)
	case syscall.AF_INET6:
		if len(b) >= 32 {
			ap = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[16:32])), port)
		}
	}
	return
}

func rxSocket(v6 bool) (int, error) {
	pf := syscall.AF_INET
	if v6 {
		pf = syscall.AF_INET6
	}
	return syscall.Socket(afRXRPC, syscall.SOCK_DGRAM, pf)
}

func setopt(fd, opt int, p []byte) error {
	var ptr unsafe.Pointer
	if len(p) > 0 {
		ptr = unsafe.Pointer(&p[0])
	}
	_, _, e := syscall.Syscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), solRXRPC, uintptr(opt), uintptr(ptr), uintptr(len(p)), 0)
	if e != 0 {
		return e
	}
	return nil
}

func setoptU32(fd, opt int, v uint32) error {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], v)
	return setopt(fd, opt, b[:])
}

func rxBind(fd int, ap netip.AddrPort, service uint16) error {
	sa := sockaddr(ap, service)
	_, _, e := syscall.Syscall(syscall.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&sa[0])), 36)
	if e != 0 {
		return e
	}
	return nil
}

type cmsg struct {
	typ  int32
	data []byte
}

func u32(v uint32) []byte { b := make([]byte, 4); binary.NativeEndian.PutUint32(b, v); return b }
func u64(v uint64) []byte { b := make([]byte, 8); binary.NativeEndian.PutUint64(b, v); return b }

func packCmsgs(cs []cmsg) []byte {
	var out []byte
	for _, c := range cs {
		h := make([]byte, syscall.CmsgSpace(len(c.data)))
		binary.NativeEndian.PutUint64(h[0:], uint64(syscall.CmsgLen(len(c.data))))
		binary.NativeEndian.PutUint32(h[8:], solRXRPC)
		binary.NativeEndian.PutUint32(h[12:], uint32(c.typ))
		copy(h[16:], c.data)
		out = append(out, h...)
	}
	return out
}

func rxSend(fd int, to []byte, data []byte, flags int, cs ...cmsg) (int, error) {
	var mh syscall.Msghdr
	var iov syscall.Iovec
	ctl := packCmsgs(cs)
	if len(to) > 0 {
		mh.Name = &to[0]
		mh.Namelen = uint32(len(to))
	}
	if len(data) > 0 {
		iov.Base = &data[0]
		iov.SetLen(len(data))
		mh.Iov = &iov
		mh.Iovlen = 1
	}
	if len(ctl) > 0 {
		mh.Control = &ctl[0]
		mh.SetControllen(len(ctl))
	}
	for {
		n, _, e := syscall.Syscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&mh)), uintptr(flags))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return int(n), e
		}
		return int(n), nil
	}
}

type rxMsg struct {
	n     int
	flags int32
	id    uint64
	hasID bool
	cs    []cmsg // all but USER_CALL_ID
	peer  netip.AddrPort
	svc   uint16
}

func (m *rxMsg) eor() bool { return m.flags&msgEOR != 0 }
func (m *rxMsg) String() string {
	s := fmt.Sprintf("n=%d flags=%#x", m.n, m.flags)
	if m.hasID {
		s += fmt.Sprintf(" id=%#x", m.id)
	}
	for _, c := range m.cs {
		s += " " + cmsgName[c.typ]
		if len(c.data) == 4 {
			s += fmt.Sprintf("=%d", int32(binary.NativeEndian.Uint32(c.data)))
		}
	}
	if m.peer.IsValid() {
		s += fmt.Sprintf(" from=%v svc=%d", m.peer, m.svc)
	}
	return s
}

func rxRecv(fd int, buf []byte, flags int) (*rxMsg, error) {
	var mh syscall.Msghdr
	var iov syscall.Iovec
	var ctl [256]byte
	var name [64]byte
	if len(buf) > 0 {
		iov.Base = &buf[0]
		iov.SetLen(len(buf))
		mh.Iov = &iov
		mh.Iovlen = 1
	}
	for {
		mh.Name = &name[0]
		mh.Namelen = uint32(len(name))
		mh.Control = &ctl[0]
		mh.SetControllen(len(ctl))
		n, _, e := syscall.Syscall(syscall.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&mh)), uintptr(flags))
		if e == syscall.EINTR {
			continue
		}
		if e != 0 {
			return nil, e
		}
		m := &rxMsg{n: int(n), flags: mh.Flags}
		c := ctl[:mh.Controllen]
		for len(c) >= 16 {
			l := int(binary.NativeEndian.Uint64(c))
			if l < 16 || l > len(c) {
				break
			}
			lev := binary.NativeEndian.Uint32(c[8:])
			typ := int32(binary.NativeEndian.Uint32(c[12:]))
			d := append([]byte(nil), c[16:l]...)
			if lev == solRXRPC {
				if typ == cUserCallID {
					m.hasID = true
					if len(d) == 8 {
						m.id = binary.NativeEndian.Uint64(d)
					} else if len(d) == 4 {
						m.id = uint64(binary.NativeEndian.Uint32(d))
					}
				} else {
					m.cs = append(m.cs, cmsg{typ, d})
				}
			}
			a := (l + 7) &^ 7
			if a > len(c) {
				break
			}
			c = c[a:]
		}
		if mh.Namelen > 0 {
			m.peer, m.svc = parseSockaddr(name[:mh.Namelen])
		}
		return m, nil
	}
}

// keySpecSession is the session's keyring.
const keySpecSession = unix.KEY_SPEC_SESSION_KEYRING

func addKey(typ, desc string, payload []byte, ring int) error {
	_, err := unix.AddKey(typ, desc, payload, ring)
	return err
}

// addRing makes a keyring in the session's.
func addRing(desc string) (int, error) { return unix.AddKey("keyring", desc, nil, keySpecSession) }

// joinSession gives this OS thread a fresh anonymous session keyring:
// credentials are per thread on Linux, so the caller has locked its goroutine to one.
func joinSession() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	return err
}

func getopt(fd, opt int, val, ln []byte) error {
	_, _, e := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), solRXRPC, uintptr(opt),
		uintptr(unsafe.Pointer(&val[0])), uintptr(unsafe.Pointer(&ln[0])), 0)
	if e != 0 {
		return e
	}
	return nil
}
