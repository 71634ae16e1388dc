package bussock

import (
	"encoding/binary"
	"net/netip"

	"github.com/cnbus/cnbus/tsocket"
)

// prefix is that of the addresses of endpoints: unique local (RFC 4193), fd, "cnbus", subnet 0.
var prefix = [12]byte{0xfd, 0x63, 0x6e, 0x62, 0x75, 0x73}

// Addr returns the address of a socket: fd63:6e62:7573::/96 with the port id of its endpoint
// below, and the number of the socket, which is the endpoint's own, in the place of a port of UDP. So whatever knows its peers by IP
// address and port, as the RxRPC engine does, knows them on the bus too. No packet of a network ever has such an address.
func Addr(port uint32, number uint16) tsocket.Addr {
	var b [16]byte
	copy(b[:], prefix[:])
	binary.BigEndian.PutUint32(b[12:], port)
	a, _ := tsocket.AddrFrom(netip.AddrPortFrom(netip.AddrFrom16(b), number)) // has no zone, the one thing that can be wrong
	return a
}

// ParseAddr takes apart what Addr made; ok is false for any other address.
func ParseAddr(a tsocket.Addr) (port uint32, number uint16, ok bool) {
	ip := a.IP()
	if !ip.Is6() || ip.Is4In6() || a.Scope() != 0 {
		return 0, 0, false
	}
	b := ip.As16()
	if [12]byte(b[:12]) != prefix {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(b[12:]), a.Port(), true
}
