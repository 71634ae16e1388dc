package broker

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cnbus/cnbus/connector"
)

// Action is something that the agents of sockets and of RxRPC do for a client, for which
// a policy has a key.
type Action uint8

// The actions, each with what an Access says of it.
const (
	SockConnect Action = iota // connect, or send a datagram to: Kind, and Addr or Path
	SockBind                  // bind and listen: likewise
	RxCall                    // call a service: Addr, Service
	RxListen                  // serve one: Addr, Service
	RxKey                     // do something with a key of one's own: Key
	actions
)

// String returns the key of the policy file.
func (a Action) String() string {
	return [...]string{"sock_connect", "sock_bind", "rx_call", "rx_listen", "rx_keys"}[a]
}

// SockKind is a kind of socket.
type SockKind uint8

// The kinds of sockets. Each is a bit, as a rule may name several.
const (
	TCP SockKind = 1 << iota
	UDP
	UnixStream
	UnixDgram

	allKinds = TCP | UDP | UnixStream | UnixDgram
)

// Access is what a client wants an agent to do.
type Access struct {
	Action  Action
	Kind    SockKind
	Addr    netip.AddrPort // of an IP socket or of RxRPC; port 0 lets the system choose
	Path    string         // of a unix socket; an abstract name begins with "@"
	Service uint16
	Key     string // an operation, one of KeyOps
}

// KeyOps are the operations on keys that a policy can name.
var KeyOps = []string{"use", "add", "list", "describe", "revoke", "unlink"}

// String describes the access in the words of a policy.
func (a *Access) String() string {
	switch {
	case a.Action == RxKey:
		return a.Key
	case a.Action >= RxCall:
		return a.Addr.String() + " " + strconv.Itoa(int(a.Service))
	case a.Kind&(TCP|UDP) != 0:
		return a.Kind.String() + " " + a.Addr.String()
	}
	return a.Kind.String() + " " + a.Path
}

// DeniedError is a refusal of Policy.Allow.
type DeniedError struct {
	Cred   connector.Cred
	Access Access
	Rules  []string // that match the client, none of which allows it
}

func (e *DeniedError) Error() string {
	by := "no rule of the policy matches uid " + strconv.FormatUint(uint64(e.Cred.UID), 10)
	if n := len(e.Rules); n > 0 {
		rules := strings.Join(e.Rules, ", ")
		if !strings.HasPrefix(rules, "rule ") { // one without a name
			rules = "rule " + rules
		}
		by = "no " + e.Access.Action.String() + " of " + rules + " allows it to uid " + strconv.FormatUint(uint64(e.Cred.UID), 10)
	}
	return fmt.Sprintf("%s %s: %s", e.Access.Action, &e.Access, by)
}

// Unwrap returns connector.ErrPermission (EPERM).
func (e *DeniedError) Unwrap() error { return connector.ErrPermission }

// Allow says whether a client may have an agent do a: nil, or a *DeniedError that names
// the rules. gids are the client's supplementary groups.
func (p *Policy) Allow(cred connector.Cred, gids []uint32, a Access) error {
	return p.allow(&who{cred: cred, gids: gids}, a)
}

// AllowHost is Allow for a client of another host of the site, with the credentials that it has here.
func (p *Policy) AllowHost(host string, cred connector.Cred, a Access) error {
	return p.allow(&who{cred: cred, foreign: true, host: host}, a)
}

func (p *Policy) allow(w *who, a Access) error {
	if a.Addr.IsValid() {
		// A mapped address is the IPv4 address that it means, and a zone says only through which interface.
		a.Addr = netip.AddrPortFrom(a.Addr.Addr().Unmap().WithZone(""), a.Addr.Port())
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		if r.matches(w) && r.access[a.Action].allows(&a) {
			return nil
		}
	}
	return &DeniedError{Cred: w.cred, Access: a, Rules: p.ruleNames(w)}
}

// ruleNames are the rules that match a client, for people.
func (p *Policy) ruleNames(w *who) (names []string) {
	for i := range p.Rules {
		if p.Rules[i].matches(w) {
			name := strings.TrimSpace(p.Rules[i].Name)
			if name == "" {
				name = "rule " + strconv.Itoa(i+1)
			}
			names = append(names, name)
		}
	}
	return names
}

// accessWords are the words by which the rules that match a client allow an action.
func (p *Policy) accessWords(w *who, a Action) []string {
	words := []string{}
	for i := range p.Rules {
		if r := &p.Rules[i]; r.matches(w) {
			g := &r.access[a]
			if g.all {
				return []string{"*"}
			}
			for j := range g.words {
				if w := g.words[j].String(); !slices.Contains(words, w) {
					words = append(words, w)
				}
			}
		}
	}
	return words
}

// accessGrant is a compiled list of one action.
type accessGrant struct {
	all   bool
	words []accessWord
}

func (g *accessGrant) allows(a *Access) bool {
	return g.all || slices.ContainsFunc(g.words, func(w accessWord) bool { return w.allows(a) })
}

func (w *accessWord) allows(a *Access) bool {
	switch {
	case a.Action == RxKey:
		return w.key == a.Key
	case a.Action < RxCall && w.kinds&a.Kind == 0:
		return false
	case a.Action < RxCall && a.Kind&(UnixStream|UnixDgram) != 0:
		return w.path == "" || w.path == a.Path || w.beneath && strings.HasPrefix(a.Path, w.path) && cleanPath(a.Path)
	case w.prefix.IsValid() && !w.prefix.Contains(a.Addr.Addr()), !a.Addr.IsValid():
		return false
	case a.Action >= RxCall && (a.Service < w.services.first || a.Service > w.services.last):
		return false
	}
	return w.ports.contains(a.Addr.Port())
}
