package tsocket

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sizeSockaddr4 = unix.SizeofSockaddrInet4
	sizeSockaddr6 = unix.SizeofSockaddrInet6
	sizeSockaddrU = unix.SizeofSockaddrUnix

	// maxUnixPath is the longest path that leaves room for its NUL.
	maxUnixPath = len(unix.RawSockaddrUnix{}.Path) - 1
	pathOffset  = sizeSockaddrU - len(unix.RawSockaddrUnix{}.Path)
)

// rawSockaddr holds any of the three. It is used without allocating on every
// datagram, so no unix.Sockaddr, which is an interface.
type rawSockaddr [sizeSockaddrU]byte

// AddrFromRaw returns the address in b, the bytes of a struct sockaddr as long
// as its socklen_t says. EINVAL if b is too short for its family, EAFNOSUPPORT for a
// family other than inet, inet6 and unix; nothing at all is the zero Addr.
func AddrFromRaw(b []byte) (Addr, error) {
	if len(b) == 0 {
		return Addr{}, nil
	}
	if len(b) < 2 {
		return Addr{}, &OpError{Op: "address of a sockaddr", Err: ErrInvalid}
	}
	fam := rawFamily(b)
	switch {
	case fam == unix.AF_INET && len(b) >= sizeSockaddr4:
		return Addr{kind: addrInet, ip: netip.AddrFrom4([4]byte(b[4:8])), port: binary.BigEndian.Uint16(b[2:])}, nil
	case fam == unix.AF_INET6 && len(b) >= sizeSockaddr6:
		return Addr{
			kind: addrInet, ip: netip.AddrFrom16([16]byte(b[8:24])),
			port: binary.BigEndian.Uint16(b[2:]), scope: binary.NativeEndian.Uint32(b[24:]),
		}, nil
	case fam == unix.AF_UNIX:
		return addrFromPath(b[pathOffset:])
	case fam == unix.AF_INET, fam == unix.AF_INET6:
		return Addr{}, &OpError{Op: "address of a sockaddr", Err: ErrInvalid}
	}
	return Addr{}, &OpError{Op: "address of a sockaddr", Err: syscall.EAFNOSUPPORT}
}

// addrFromPath takes the sun_path of a sockaddr, as long as the kernel said.
func addrFromPath(b []byte) (Addr, error) {
	if len(b) > 1 && b[0] == 0 && abstractNames {
		if len(bytes.Trim(b, "\x00")) == 0 {
			return Addr{kind: addrUnix}, nil // what C makes of the empty path
		}
		return AbstractAddr(string(b[1:]))
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return UnixAddr(string(b))
}

// AppendRaw appends the bytes of the struct sockaddr of a to b: 16 for IPv4, 28
// for IPv6, all of sockaddr_un for a path, what is used of it for an abstract name.
// EINVAL for the zero Addr.
func (a Addr) AppendRaw(b []byte) ([]byte, error) {
	var raw rawSockaddr
	n := a.putRaw(&raw)
	if n == 0 {
		return b, &OpError{Op: "sockaddr", Err: ErrInvalid}
	}
	return append(b, raw[:n]...), nil
}

// putRaw writes the sockaddr of a into raw and returns its length, 0 for no
// address.
func (a Addr) putRaw(raw *rawSockaddr) int {
	switch a.kind {
	case addrInet:
		binary.BigEndian.PutUint16(raw[2:], a.port)
		if a.ip.Is4() {
			ip := a.ip.As4()
			clear(raw[8:sizeSockaddr4])
			copy(raw[4:], ip[:])
			putFamily(raw, unix.AF_INET, sizeSockaddr4)
			return sizeSockaddr4
		}
		ip := a.ip.As16()
		clear(raw[4:8])
		copy(raw[8:], ip[:])
		binary.NativeEndian.PutUint32(raw[24:], a.scope)
		putFamily(raw, unix.AF_INET6, sizeSockaddr6)
		return sizeSockaddr6
	case addrUnix:
		n := copy(raw[pathOffset:], a.path)
		clear(raw[pathOffset+n:])
		putFamily(raw, unix.AF_UNIX, sizeSockaddrU)
		return sizeSockaddrU
	case addrAbstract:
		raw[pathOffset] = 0
		n := pathOffset + 1 + copy(raw[pathOffset+1:], a.path)
		putFamily(raw, unix.AF_UNIX, n)
		return n
	}
	return 0
}

// rawName remembers the last address that was decoded, so that the paths of unix
// peers are not allocated anew for every datagram.
type rawName struct {
	raw  rawSockaddr
	n    int
	addr Addr
}

// decode returns the address in the first n bytes of raw; the zero Addr for
// one that is none of ours.
func (c *rawName) decode(raw *rawSockaddr, n int) Addr {
	b := raw[:min(max(n, 0), len(raw))]
	unixName := len(b) > 2 && rawFamily(b) == unix.AF_UNIX
	if unixName && bytes.Equal(b, c.raw[:c.n]) {
		return c.addr
	}
	a, err := AddrFromRaw(b)
	if err != nil {
		return Addr{}
	}
	if unixName {
		c.raw, c.n, c.addr = *raw, n, a
	}
	return a
}

// pointer returns where the kernel finds raw.
func (raw *rawSockaddr) pointer() unsafe.Pointer { return unsafe.Pointer(raw) }
