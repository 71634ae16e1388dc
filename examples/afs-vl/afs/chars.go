package afs

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Fixed arrays of characters, as rxgen sends them.
type (
	Chars65 [65]int32 // a volume's name
	Chars64 [64]int32 // a user's or group's name
)

// String is the text up to the first zero.
func (c Chars65) String() string { return text(c[:]) }

// String is the text up to the first zero.
func (c Chars64) String() string { return text(c[:]) }

func text(c []int32) string {
	b := make([]byte, 0, len(c))
	for _, v := range c {
		if byte(v) == 0 {
			break
		}
		b = append(b, byte(v))
	}
	return string(b)
}

// setText fills c with s, cut so that a zero follows.
func setText(c []int32, s string) {
	for i := range min(len(s), len(c)-1) {
		c[i] = int32(s[i])
	}
}

func chars65(s string) (c Chars65) { setText(c[:], s); return c }
func chars64(s string) (c Chars64) { setText(c[:], s); return c }

// number is an IPv4 address as an integer, which is how AFS names servers.
func number(a netip.Addr) uint32 {
	b := a.Unmap().As4()
	return binary.BigEndian.Uint32(b[:])
}

// Addr is the address that a number stands for.
func Addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// A UUID as rxgen sends it: eleven integers for its 16 bytes.
type UUID struct {
	TimeLow          uint32
	TimeMid, TimeHi  uint32
	ClockHi, ClockLo int32
	Node             [6]int32
}

// UUIDOf is the UUID with these bytes.
func UUIDOf(b [16]byte) UUID {
	be := binary.BigEndian
	u := UUID{
		TimeLow: be.Uint32(b[0:]), TimeMid: uint32(be.Uint16(b[4:])), TimeHi: uint32(be.Uint16(b[6:])),
		ClockHi: int32(int8(b[8])), ClockLo: int32(int8(b[9])),
	}
	for i := range u.Node {
		u.Node[i] = int32(int8(b[10+i]))
	}
	return u
}

func decimal(n int32) string { return strconv.Itoa(int(n)) }

// Bytes are the UUID's 16 bytes.
func (u UUID) Bytes() (b [16]byte) {
	be := binary.BigEndian
	be.PutUint32(b[0:], u.TimeLow)
	be.PutUint16(b[4:], uint16(u.TimeMid))
	be.PutUint16(b[6:], uint16(u.TimeHi))
	b[8], b[9] = byte(u.ClockHi), byte(u.ClockLo)
	for i, v := range u.Node {
		b[10+i] = byte(v)
	}
	return b
}
