package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

// accessWord is one element of the list of a rule that is about sockets or RxRPC.
type accessWord struct {
	kinds    SockKind
	prefix   netip.Prefix // not valid: any address
	ports    numbers
	services numbers

	path    string // unix; "" any
	beneath bool   // path is a directory, ending in "/"

	key string
}

// numbers is a range of ports or services, both ends in it.
type numbers struct{ first, last uint16 }

var everyNumber = numbers{0, 0xffff}

// contains reports whether a port is in n. Port 0 lets the system choose one from 1024 up.
func (n numbers) contains(port uint16) bool {
	return port >= n.first && port <= n.last || port == 0 && n.first <= 1024 && n.last == 0xffff
}

func (n numbers) String() string {
	switch {
	case n == everyNumber:
		return "*"
	case n.first == n.last:
		return strconv.Itoa(int(n.first))
	}
	return fmt.Sprintf("%d-%d", n.first, n.last)
}

// parseNumbers reads "*", "7000" and "7000-7009".
func parseNumbers(s, what string) (numbers, error) {
	if s == "*" {
		return everyNumber, nil
	}
	from, to, isRange := strings.Cut(s, "-")
	first, err := strconv.ParseUint(from, 0, 16)
	last := first
	if err == nil && isRange {
		last, err = strconv.ParseUint(to, 0, 16)
	}
	if err != nil || last < first {
		return numbers{}, fmt.Errorf("%q is neither a %s nor a range of them", s, what)
	}
	return numbers{uint16(first), uint16(last)}, nil
}

var kindWords = []struct {
	word  string
	kinds SockKind
}{
	{"*", allKinds},
	{"tcp", TCP},
	{"udp", UDP},
	{"unix", UnixStream | UnixDgram},
	{"unix-stream", UnixStream},
	{"unix-dgram", UnixDgram},
}

// String returns the word of a policy file.
func (k SockKind) String() string {
	for _, w := range kindWords {
		if w.kinds == k {
			return w.word
		}
	}
	return "SockKind(" + strconv.Itoa(int(k)) + ")"
}

// parseAccess reads one word of an action's list.
func parseAccess(a Action, word string) (accessWord, error) {
	fields := strings.Fields(word)
	switch {
	case a == RxKey:
		if !slices.Contains(KeyOps, word) {
			return accessWord{}, fmt.Errorf("%q is none of %s", word, strings.Join(KeyOps, ", "))
		}
		return accessWord{key: word}, nil
	case a >= RxCall:
		return parseRx(fields)
	}
	return parseSock(fields)
}

// parseSock reads "KIND ADDRESS".
func parseSock(fields []string) (w accessWord, err error) {
	if len(fields) != 2 {
		return w, errors.New(`"KIND ADDRESS" is wanted, such as "tcp 192.0.2.0/24:80" or "unix /run/x.sock"`)
	}
	for _, k := range kindWords[1:] {
		if k.word == fields[0] {
			w.kinds = k.kinds
		}
	}
	switch {
	case w.kinds == 0:
		return w, fmt.Errorf("%q is none of tcp, udp, unix, unix-stream, unix-dgram", fields[0])
	case w.kinds&(TCP|UDP) != 0:
		w.prefix, w.ports, err = parseAddress(fields[1])
		return w, err
	case fields[1] == "*":
		return w, nil
	}
	name, isDir := strings.CutSuffix(fields[1], "*")
	switch {
	case strings.HasPrefix(name, "@") && len(fields[1]) > 1:
	case !path.IsAbs(name), !cleanPath(strings.TrimSuffix(name, "/") + "/x"), isDir && !strings.HasSuffix(name, "/"):
		return w, fmt.Errorf(`%q: an absolute path, "DIR/*", "@NAME" or "@NAME*" is wanted`, fields[1])
	}
	w.path, w.beneath = name, isDir
	return w, nil
}

// cleanPath refuses what leads elsewhere than it seems to.
func cleanPath(p string) bool { return strings.HasPrefix(p, "@") || path.Clean(p) == p }

// parseRx reads "ADDRESS [SERVICES]".
func parseRx(fields []string) (w accessWord, err error) {
	w.services = everyNumber
	switch len(fields) {
	case 2:
		if w.services, err = parseNumbers(fields[1], "service"); err != nil {
			return w, err
		}
	case 1:
	default:
		return w, errors.New(`"ADDRESS SERVICES" is wanted, such as "192.0.2.0/24:7000-7009 52"`)
	}
	w.prefix, w.ports, err = parseAddress(fields[0])
	return w, err
}

// parseAddress reads PREFIX[:PORTS]; PREFIX is an address, a prefix, in brackets if it is of
// IPv6 and PORTS follow, or "*".
func parseAddress(s string) (p netip.Prefix, ports numbers, err error) {
	host, ports := s, everyNumber
	if i := strings.LastIndexByte(s, ':'); i >= 0 && (s[i-min(i, 1)] == ']' || strings.IndexByte(s, ':') == i) {
		host = s[:i]
		if ports, err = parseNumbers(s[i+1:], "port"); err != nil {
			return p, ports, err
		}
	}
	if h, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(h, "]"); !ok {
			return p, ports, fmt.Errorf("%q: the bracket is not closed", s)
		}
	}
	if host == "*" {
		return p, ports, nil
	}
	if p, err = netip.ParsePrefix(host); err != nil {
		a, aerr := netip.ParseAddr(host)
		if aerr != nil || a.Zone() != "" {
			return p, ports, fmt.Errorf("%q is neither an address nor a prefix", host)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		return p, ports, fmt.Errorf("%q: write the IPv4 address itself", host)
	}
	if p != p.Masked() {
		return p, ports, fmt.Errorf("%q has bits outside its prefix, %v is meant", host, p.Masked())
	}
	return p, ports, nil
}

// String returns the word in the form of the policy file.
func (w *accessWord) String() string {
	if w.key != "" {
		return w.key
	}
	at := "*"
	switch {
	case w.beneath:
		at = w.path + "*"
	case w.path != "":
		at = w.path
	case w.prefix.IsValid():
		at = w.prefix.String()
		if w.prefix.IsSingleIP() {
			at = w.prefix.Addr().String()
		}
	}
	if isUnix := w.kinds&(UnixStream|UnixDgram) != 0; w.ports != everyNumber && !isUnix {
		if w.prefix.IsValid() && w.prefix.Addr().Is6() {
			at = "[" + at + "]"
		}
		at += ":" + w.ports.String()
	}
	switch {
	case w.kinds != 0:
		return w.kinds.String() + " " + at
	case w.services != everyNumber:
		return at + " " + w.services.String()
	}
	return at
}

// compileAccess compiles the lists of r that are about sockets and RxRPC.
func (r *Rule) compileAccess() error {
	for a, words := range [actions][]string{
		SockConnect: r.SockConnect, SockBind: r.SockBind, RxCall: r.RxCall, RxListen: r.RxListen, RxKey: r.RxKeys,
	} {
		g := &r.access[a]
		*g = accessGrant{all: r.Admin}
		for _, word := range words {
			if word == "*" {
				g.all = true
				continue
			}
			w, err := parseAccess(Action(a), word)
			if err != nil {
				return fmt.Errorf("%s: %w", Action(a), err)
			}
			g.words = append(g.words, w)
		}
	}
	return nil
}
