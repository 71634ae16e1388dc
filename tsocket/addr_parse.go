package tsocket

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

type family uint8

const (
	anyFamily family = iota
	family4
	family6
)

func parseFamily(s string) (family, bool) {
	switch {
	case strings.EqualFold(s, "ip"):
		return anyFamily, true
	case strings.EqualFold(s, "ipv4"):
		return family4, true
	case strings.EqualFold(s, "ipv6"):
		return family6, true
	}
	return 0, false
}

func (f family) has(ip netip.Addr) bool {
	return f == anyFamily || ip.Is4() == (f == family4)
}

// any returns the wildcard address; for both families that of IPv6, as in C.
func (f family) any() netip.Addr {
	if f == family4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// ParseIP returns the address of a numeric IP address: no name is looked up.
// The family is "ip" for either, "ipv4" or "ipv6", in any case; EAFNOSUPPORT for others.
// The empty string is the wildcard, which for "ip" is that of IPv6. An IPv6 address
// may end in a scope, "%eth0" or "%2". EINVAL for anything else. ParseIPCompat also takes
// the old ways of writing an IPv4 address.
func ParseIP(family, s string, port uint16) (Addr, error) {
	return parseIP(family, s, port, netip.ParseAddr)
}

// ParseIPCompat is ParseIP that takes all that inet_aton(3) takes, as the C
// library does: "10.1" is 10.0.0.1, "0x7f.1" and "0177.0.0.01" are 127.0.0.1.
func ParseIPCompat(family, s string, port uint16) (Addr, error) {
	return parseIP(family, s, port, parseCompat)
}

func parseIP(familyName, s string, port uint16, parse func(string) (netip.Addr, error)) (Addr, error) {
	f, ok := parseFamily(familyName)
	if !ok {
		return Addr{}, &OpError{Op: fmt.Sprintf("parse family %q", familyName), Err: syscall.EAFNOSUPPORT}
	}
	if s == "" {
		return Addr{kind: addrInet, ip: f.any(), port: port}, nil
	}
	ip, err := parse(s)
	if err != nil || !f.has(ip) {
		return Addr{}, badAddr(s)
	}
	scope, ok := scopeOf(ip.Zone())
	if !ok {
		return Addr{}, badAddr(s)
	}
	return Addr{kind: addrInet, ip: ip.WithZone(""), scope: scope, port: port}, nil
}

func badAddr(s string) error {
	if len(s) > 100 {
		s = s[:100] + "..."
	}
	return &OpError{Op: fmt.Sprintf("parse address %q", s), Err: ErrInvalid}
}

// scopeOf returns the index that a zone stands for: its number, or that of the
// interface of that name.
func scopeOf(zone string) (uint32, bool) {
	if zone == "" {
		return 0, true
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), true
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, false
	}
	return uint32(i.Index), true
}

// ParseHostPort returns the address of "192.0.2.1", "192.0.2.1:80", "::1", "[::1]" or "[::1]:80";
// without a port it has the given one. The empty string is the wildcard. EINVAL for
// anything after the bracket but a port, for an empty or non-decimal port, for one
// beyond 65535, for a port without an address, and for IPv4 in brackets.
func ParseHostPort(family, s string, port uint16) (Addr, error) {
	return parseHostPort(family, s, port, ParseIP, false)
}

// ParseHostPortCompat is ParseHostPort that takes all that the C library takes:
// "[192.0.2.1]:80" and the forms of ParseIPCompat.
func ParseHostPortCompat(family, s string, port uint16) (Addr, error) {
	return parseHostPort(family, s, port, ParseIPCompat, true)
}

func parseHostPort(family, s string, port uint16, parse func(string, string, uint16) (Addr, error), brackets4 bool) (Addr, error) {
	host, text, hasPort := s, "", false
	bracketed := strings.HasPrefix(s, "[")
	switch {
	case bracketed:
		var rest string
		var ok bool
		if host, rest, ok = strings.Cut(s[1:], "]"); !ok || host == "" {
			return Addr{}, badAddr(s)
		}
		if rest != "" {
			if text, hasPort = strings.CutPrefix(rest, ":"); !hasPort {
				return Addr{}, badAddr(s)
			}
		}
	case strings.Count(s, ":") == 1:
		if host, text, hasPort = strings.Cut(s, ":"); host == "" {
			return Addr{}, badAddr(s)
		}
	}
	if hasPort {
		p, err := parsePort(text)
		if err != nil {
			return Addr{}, badAddr(s)
		}
		port = p
	}
	a, err := parse(family, host, port)
	if err == nil && bracketed && !brackets4 && a.is4() {
		return Addr{}, badAddr(s)
	}
	return a, err
}

func parsePort(s string) (uint16, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, ErrInvalid
		}
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err
}
