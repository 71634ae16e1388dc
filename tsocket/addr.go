package tsocket

import (
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

type addrKind uint8

const (
	addrNone addrKind = iota
	addrInet
	addrUnix
	addrAbstract // Linux: a unix name that is no path
)

// Addr is the address of an endpoint: a value that can be copied, compared and
// used as the key of a map. The zero Addr means "no address"; it is also the
// source of a datagram whose sender has no name.
type Addr struct {
	kind  addrKind
	port  uint16
	scope uint32     // of an IPv6 address: the index of its interface
	ip    netip.Addr // without zone
	path  string     // unix: the path; abstract: the name without its leading NUL
}

// UnixAddr returns the address of the unix socket with that path. It fails with
// ENAMETOOLONG for more than the kernel takes (107 bytes on Linux), with EINVAL for a NUL inside.
// The empty path means "not bound" where it is the local address; as a remote
// address it is, as in C, the name of 107 NUL bytes, at which nobody listens.
func UnixAddr(path string) (Addr, error) {
	switch {
	case len(path) > maxUnixPath:
		return Addr{}, &OpError{Op: "unix address", Err: syscall.ENAMETOOLONG}
	case strings.IndexByte(path, 0) >= 0:
		return Addr{}, &OpError{Op: "unix address", Err: ErrInvalid}
	}
	return Addr{kind: addrUnix, path: path}, nil
}

// AbstractAddr returns the address with that name in Linux's abstract
// namespace of unix sockets. The name may hold any byte.
func AbstractAddr(name string) (Addr, error) {
	switch {
	case len(name) > maxUnixPath:
		return Addr{}, &OpError{Op: "abstract unix address", Err: syscall.ENAMETOOLONG}
	case name == "":
		return Addr{}, &OpError{Op: "abstract unix address", Err: ErrInvalid}
	}
	return Addr{kind: addrAbstract, path: name}, nil
}

// MustAddr returns a, or panics if err is not nil: for addresses written down
// in a program.
func MustAddr(a Addr, err error) Addr {
	if err != nil {
		panic(err)
	}
	return a
}

// IsZero reports whether a is no address at all.
func (a Addr) IsZero() bool { return a.kind == addrNone }

// IsInet reports whether a is an address of that family: "ip", "ipv4" or "ipv6".
func (a Addr) IsInet(family string) bool {
	f, ok := parseFamily(family)
	return ok && a.kind == addrInet && f.has(a.ip)
}

// IsUnix reports whether a is the address of a unix socket, abstract or not.
func (a Addr) IsUnix() bool { return a.kind == addrUnix || a.kind == addrAbstract }

// IP returns the IP address without its scope, the zero netip.Addr for another kind.
func (a Addr) IP() netip.Addr { return a.ip }

// Scope returns the index of the interface that a link-local IPv6 address
// belongs to, 0 for none.
func (a Addr) Scope() uint32 { return a.scope }

// IPString returns the text of the IP address as inet_ntop prints it, without its
// scope; "" for another kind.
func (a Addr) IPString() string {
	if a.kind != addrInet {
		return ""
	}
	// glibc prints the last 32 bits of ::w.x.y.z as IPv4, netip does not.
	if b := a.ip.As16(); a.ip.Is6() && [12]byte(b[:12]) == [12]byte{} && (b[12] != 0 || b[13] != 0) {
		return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
	}
	return a.ip.String()
}

// Port returns the port, 0 for an address without one.
func (a Addr) Port() uint16 { return a.port }

// WithPort returns a with another port; EINVAL if it is no inet address.
func (a Addr) WithPort(port uint16) (Addr, error) {
	if a.kind != addrInet {
		return Addr{}, &OpError{Op: "set port", Addr: a, Err: ErrInvalid}
	}
	a.port = port
	return a, nil
}

// Path returns the path of a unix address, "" for an abstract name and for
// another kind.
func (a Addr) Path() string {
	if a.kind != addrUnix {
		return ""
	}
	return a.path
}

// Abstract returns the abstract name of a unix address, "" for another kind.
func (a Addr) Abstract() string {
	if a.kind != addrAbstract {
		return ""
	}
	return a.path
}

// String returns the text that the C library prints for debugging:
// "ipv4:192.0.2.1:143", "ipv6:::1:80", "unix:/run/x", and "NULL" for no address.
// It is ambiguous, and not meant to be parsed. Abstract names, for which C prints
// an empty path, are "unix:@name".
func (a Addr) String() string {
	switch a.kind {
	case addrInet:
		family := "ipv6:"
		if a.ip.Is4() {
			family = "ipv4:"
		}
		return family + a.IPString() + ":" + strconv.Itoa(int(a.port))
	case addrUnix:
		return "unix:" + a.path
	case addrAbstract:
		return "unix:@" + strings.ReplaceAll(a.path, "\x00", "@")
	}
	return "NULL"
}

// isAny reports whether a is the wildcard address without a port: nothing to
// bind to.
func (a Addr) isAny() bool { return a.kind == addrInet && a.port == 0 && a.ip.IsUnspecified() }

func (a Addr) is4() bool { return a.kind == addrInet && a.ip.Is4() }
