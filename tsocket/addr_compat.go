package tsocket

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// parseCompat is netip.ParseAddr that also takes the IPv4 forms of inet_aton(3):
// one to four parts, each decimal, octal (0...) or hexadecimal (0x...), the last
// one filling all bytes that are left.
func parseCompat(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err == nil || strings.Contains(s, ":") {
		return ip, err
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, err
	}
	var sum uint32
	for i, p := range parts {
		n, ok := parsePart(p)
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if !ok || n >= 1<<bits {
			return netip.Addr{}, err
		}
		sum |= uint32(n) << (24 - 8*i - (bits - 8))
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, sum))), nil
}

func parsePart(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"), strings.HasPrefix(s, "0X"):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	// ParseUint takes a sign or underscores in no base but 0; "" is an error.
	n, err := strconv.ParseUint(s, base, 32)
	return n, err == nil
}
