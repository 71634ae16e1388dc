package rxrpc

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
)

// Numbers of the AF_RXRPC address family (Linux: include/uapi/linux/rxrpc.h).
const (
	AFRxRPC  = 33  // AF_RXRPC, PF_RXRPC
	SOLRxRPC = 272 // SOL_RXRPC, the level of its control messages and options
)

// SockaddrSize is the length of a struct sockaddr_rxrpc.
const SockaddrSize = 36

const (
	sockDgram   = 2
	afUnspec    = 0
	afInet      = 2
	afInet6     = 10
	sizeofInet  = 16
	sizeofInet6 = 28
)

// Addr is the address of a service: sockaddr_rxrpc as a value. Service 0 is that of a client.
type Addr struct {
	Service uint16
	Addr    netip.AddrPort
}

// Network returns "rxrpc" (net.Addr).
func (Addr) Network() string { return "rxrpc" }

// String returns "192.0.2.1:7003/52".
func (a Addr) String() string { return fmt.Sprintf("%v/%d", a.Addr, a.Service) }

// AppendRaw appends a as the 36 bytes of a struct sockaddr_rxrpc: u16 family, service, transport type (SOCK_DGRAM)
// and transport length in host order, then a sockaddr_in or sockaddr_in6. An address that is not valid
// becomes 0.0.0.0 (Linux: include/uapi/linux/rxrpc.h).
func (a Addr) AppendRaw(b []byte) []byte {
	var raw [SockaddrSize]byte
	order := binary.NativeEndian
	order.PutUint16(raw[0:], AFRxRPC)
	order.PutUint16(raw[2:], a.Service)
	order.PutUint16(raw[4:], sockDgram)
	sa := raw[8:]
	binary.BigEndian.PutUint16(sa[2:], a.Addr.Port())
	if ip := a.Addr.Addr(); ip.Is6() && !ip.Is4In6() {
		order.PutUint16(raw[6:], sizeofInet6)
		order.PutUint16(sa, afInet6)
		v := ip.As16()
		copy(sa[8:], v[:])
		if n, err := zoneIndex(ip.Zone()); err == nil {
			order.PutUint32(sa[24:], n)
		}
	} else {
		order.PutUint16(raw[6:], sizeofInet)
		order.PutUint16(sa, afInet)
		if ip.IsValid() {
			v := ip.Unmap().As4()
			copy(sa[4:], v[:])
		}
	}
	return append(b, raw[:]...)
}

// ParseAddr reads a struct sockaddr_rxrpc for a socket of a family (4 or 6), with the checks of Linux
// in its order (net/rxrpc/af_rxrpc.c): EINVAL if it is short, EAFNOSUPPORT if it is not AF_RXRPC,
// ESOCKTNOSUPPORT if its transport is not SOCK_DGRAM, EINVAL for a transport length that cannot be,
// EAFNOSUPPORT for a transport that the socket does not have. A socket of IPv6 takes IPv4 addresses.
func ParseAddr(b []byte, family int) (Addr, error) {
	order := binary.NativeEndian
	if len(b) < SockaddrSize {
		return Addr{}, addrError("shorter than a sockaddr_rxrpc", syscall.EINVAL)
	}
	if f := order.Uint16(b); f != AFRxRPC {
		return Addr{}, addrError(fmt.Sprintf("family %d", f), syscall.EAFNOSUPPORT)
	}
	if t := order.Uint16(b[4:]); t != sockDgram {
		return Addr{}, addrError(fmt.Sprintf("transport type %d", t), syscall.ESOCKTNOSUPPORT)
	}
	a := Addr{Service: order.Uint16(b[2:])}
	sa, n := b[8:], int(order.Uint16(b[6:]))
	if n < 2 || n > len(sa) {
		return Addr{}, addrError(fmt.Sprintf("transport length %d", n), syscall.EINVAL)
	}
	port := binary.BigEndian.Uint16(sa[2:])
	switch f := order.Uint16(sa); {
	case f == afInet:
		if n < sizeofInet {
			return Addr{}, addrError(fmt.Sprintf("transport length %d", n), syscall.EINVAL)
		}
		a.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), port)
	case f == afInet6 && family == 6:
		if n < sizeofInet6 {
			return Addr{}, addrError(fmt.Sprintf("transport length %d", n), syscall.EINVAL)
		}
		ip := netip.AddrFrom16([16]byte(sa[8:24])).Unmap()
		if scope := order.Uint32(sa[24:]); scope != 0 && !ip.Is4() {
			ip = ip.WithZone(fmt.Sprint(scope))
		}
		a.Addr = netip.AddrPortFrom(ip, port)
	default:
		return Addr{}, addrError(fmt.Sprintf("transport family %d", f), syscall.EAFNOSUPPORT)
	}
	return a, nil
}

func addrError(what string, errno syscall.Errno) error {
	return fmt.Errorf("rxrpc address: %s: %w", what, errno)
}

// zoneIndex reads a zone that is a number; names are not looked up.
func zoneIndex(zone string) (n uint32, err error) {
	if zone == "" {
		return 0, nil
	}
	_, err = fmt.Sscanf(zone, "%d", &n)
	return n, err
}
