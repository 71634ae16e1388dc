package tsagent

import (
	"bytes"

	"github.com/cnbus/cnbus/tsocket"
)

// sameAddr in place of the length of an address: that of the record before.
const sameAddr = 0xffff

// maxRaw is more than the longest struct sockaddr.
const maxRaw = 128

// AppendAddr appends an address: its length in 2 bytes, 2 bytes 0, and the struct sockaddr, padded to a
// multiple of 4. The zero Addr has length 0.
func AppendAddr(b []byte, a tsocket.Addr) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b, _ = a.AppendRaw(b) // fails for the zero Addr only, and then appends nothing
	n := len(b) - at - 4
	native.PutUint16(b[at:], uint16(n))
	return append(b, make([]byte, pad(n))...)
}

// ParseAddr reads what AppendAddr appends, and returns what follows it. EINVAL or EAFNOSUPPORT for what
// is no address.
func ParseAddr(b []byte) (a tsocket.Addr, rest []byte, err error) {
	if len(b) < 4 {
		return a, nil, errAddr
	}
	n := int(native.Uint16(b))
	b = b[4:]
	if n > maxRaw || len(b) < n+pad(n) {
		return a, nil, errAddr
	}
	a, err = tsocket.AddrFromRaw(b[:n])
	return a, b[n+pad(n):], err
}

// rawNames remembers the last address that was read, so that the names of unix peers are not
// allocated for every datagram.
type rawNames struct {
	raw  []byte
	addr tsocket.Addr
}

func (c *rawNames) decode(b []byte) (tsocket.Addr, error) {
	if len(b) > 0 && bytes.Equal(b, c.raw) {
		return c.addr, nil
	}
	a, err := tsocket.AddrFromRaw(b)
	if err == nil {
		c.raw, c.addr = append(c.raw[:0], b...), a
	}
	return a, err
}
