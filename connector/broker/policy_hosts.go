package broker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/cnbus/cnbus/connector"
)

// HostRule says who the users of other hosts of the site are on this one. The first whose name is that of the host
// counts; where none is, it is as the broker was joined.
type HostRule struct {
	// Name is one name of a host, or several; "*" is any.
	Name HostNames `toml:"name"`

	// UIDs and GIDs say what the numbers of the host mean here: "same", "nobody" (65534), or a table of what each means; "*" in a table is
	// everybody else, nobody if it is not there. GIDs that are not given are as UIDs, where these are one word.
	UIDs HostMap `toml:"uids"`
	GIDs HostMap `toml:"gids"`
}

// HostNames is a name or a list of them.
type HostNames []string

// UnmarshalTOML implements toml.Unmarshaler.
func (n *HostNames) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		*n = HostNames{v}
		return nil
	case []any:
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return fmt.Errorf("%v is no name of a host", x)
			}
			*n = append(*n, s)
		}
		return nil
	}
	return fmt.Errorf("%v is no name of a host, nor a list of them", v)
}

// HostMap is what numbers of another host mean here.
type HostMap struct {
	Word  string         // "same", "nobody" or ""
	Table map[string]any // by number there, or "*": number or name here, or a word

	same bool
	to   map[uint32]uint32
}

// UnmarshalTOML implements toml.Unmarshaler.
func (m *HostMap) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		m.Word = v
		return nil
	case map[string]any:
		m.Table = v
		return nil
	}
	return fmt.Errorf(`%v is none of "same", "nobody" and a table of numbers`, v)
}

const (
	hostSame   = "same"
	hostNobody = "nobody"
	// nobodyID is the uid and the gid of users of other hosts who are nobody here.
	nobodyID = 65534
)

// compile checks m. It leaves what a HostMap of no words and no table means to the caller.
func (m *HostMap) compile(p *Policy, lookup func(string) (string, error)) error {
	if m.Table == nil {
		if m.Word != hostSame && m.Word != hostNobody {
			return fmt.Errorf(`%q is none of "same", "nobody" and a table of numbers`, m.Word)
		}
		m.same = m.Word == hostSame
		return nil
	}
	m.to = make(map[uint32]uint32, len(m.Table))
	for there, here := range m.Table {
		if there == "*" {
			if here != hostSame && here != hostNobody {
				return fmt.Errorf(`everybody else is %v: "same" or "nobody" is wanted`, here)
			}
			m.same = here == hostSame
			continue
		}
		n, err := strconv.ParseUint(there, 10, 32)
		if err != nil || n == 0xffffffff {
			return fmt.Errorf("%q is no number of another host: names are this one's", there)
		}
		switch here {
		case hostSame:
			m.to[uint32(n)] = uint32(n)
			continue
		case hostNobody:
			m.to[uint32(n)] = nobodyID
			continue
		}
		nums, anyone, err := p.numbers([]any{here}, lookup)
		if err != nil || anyone {
			return fmt.Errorf("%s = %v: %w", there, here, errors.Join(err, connector.ErrInvalid))
		}
		m.to[uint32(n)] = nums[0]
	}
	return nil
}

func (m *HostMap) of(n uint32) uint32 {
	if here, ok := m.to[n]; ok {
		return here
	}
	if m.same {
		return n
	}
	return nobodyID
}

func (p *Policy) compileHost(r *HostRule) error {
	if len(r.Name) == 0 || slices.Contains(r.Name, "") {
		return errors.New("name is missing")
	}
	if r.UIDs.Word == "" && r.UIDs.Table == nil {
		return errors.New("uids is missing")
	}
	if err := r.UIDs.compile(p, lookupUser); err != nil {
		return fmt.Errorf("uids: %w", err)
	}
	if r.GIDs.Word == "" && r.GIDs.Table == nil {
		if r.GIDs.Word = r.UIDs.Word; r.GIDs.Word == "" {
			r.GIDs.Word = hostNobody
		}
	}
	if err := r.GIDs.compile(p, lookupGroup); err != nil {
		return fmt.Errorf("gids: %w", err)
	}
	return nil
}

// HostCred says who a user of another host of the site is here; ok is false if no rule is for that host. With rules for any host, who comes
// from one whose name is not known ("") is nobody. The pid, a number of the other host, is only kept where all uids are the
// same.
func (p *Policy) HostCred(host string, cred connector.Cred) (here connector.Cred, ok bool) {
	if len(p.Hosts) > 0 && host == "" {
		return connector.Cred{UID: nobodyID, GID: nobodyID}, true
	}
	for i := range p.Hosts {
		r := &p.Hosts[i]
		if !slices.Contains(r.Name, host) && !slices.Contains(r.Name, "*") {
			continue
		}
		here = connector.Cred{UID: r.UIDs.of(cred.UID), GID: r.GIDs.of(cred.GID)}
		if r.UIDs.Word == hostSame {
			here.PID = cred.PID
		}
		return here, true
	}
	return cred, false
}

// HostCred is Policy.HostCred of the policy in force.
func (l *SiteLoop) HostCred(host string, cred connector.Cred) (connector.Cred, bool) {
	return l.s.h.rules.HostCred(host, cred)
}

// who is somebody whom the rules of a policy are about.
type who struct {
	cred    connector.Cred
	gids    []uint32
	foreign bool   // of another host of the site
	host    string // its name; "" if that is not known
}

// from reports whether a rule is for the clients of w's host.
func (r *Rule) from(w *who) bool {
	if len(r.Host) == 0 {
		return true
	}
	for _, name := range r.Host {
		if name == "self" && !w.foreign || w.foreign && (name == "*" || name != "self" && name == w.host) {
			return true
		}
	}
	return false
}

// who is the client as the policy sees it.
func (c *conn) who() who {
	if c.proxy {
		return who{cred: c.cred, foreign: true, host: c.name}
	}
	return who{cred: c.cred, gids: c.gids}
}

// whoOf is the client of another host with that port.
func (s *site) whoOf(port uint32, cred connector.Cred) who {
	host, yes := s.outside(port)
	return who{cred: cred, foreign: yes, host: s.names[host]}
}

// recred makes a client of another host another user, as the policy now has it.
func (h *hub) recred(c *conn, cred connector.Cred) {
	old, acct := c.acct, h.account(cred.UID)
	if old != acct {
		n, queued := len(c.follows), int64(c.out.len())
		old.proxies, old.follows, old.queued = old.proxies-1, old.follows-n, old.queued-queued
		acct.proxies, acct.follows, acct.queued = acct.proxies+1, acct.follows+n, acct.queued+queued
		h.forget(old)
	}
	c.cred, c.acct, c.route = cred, acct, nil
	c.gids, c.rights = h.known.of(h.rules, c.who())
}
