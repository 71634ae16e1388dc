package broker

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

// Policy says who may do what, and how much of it. A client may do what any
// rule that matches it allows; without a matching rule it may not even connect.
type Policy struct {
	Rules        []Rule        `toml:"rule"`
	Limits       []LimitRule   `toml:"limit"`
	Histories    []HistoryRule `toml:"history"`
	Certificates []CertRule    `toml:"certificate"`
	Hosts        []HostRule    `toml:"host"`

	self uint32 // uid of the broker, what "self" means
}

// Rule allows some clients something. It matches a client by uid or by gid
// (primary or supplementary); names and numbers are taken, "*" is anyone and "self"
// the broker's own uid.
//
// Register, Send, Join and Publish hold ids as cbid.ParseRect reads them: "*", "proc",
// "1:1", "0x100-0x1ff:*". For Join and Publish only the idx counts, as it is the
// group's number.
//
// SockConnect, SockBind, RxCall, RxListen and RxKeys say what the agents of sockets and of RxRPC do
// for these clients: "tcp 192.0.2.0/24:80-99", "unix /run/x.sock"; "192.0.2.1:7003 52"; "add";
// docs/policy.md has the grammar. Policy.Allow answers by them.
type Rule struct {
	Name     string   `toml:"name"`
	UID      []any    `toml:"uid"`
	GID      []any    `toml:"gid"`
	Host     []string `toml:"host"` // only clients of these hosts of the site; "*" any other one, "self" this one; none: wherever they are
	Register []string `toml:"register"`
	Send     []string `toml:"send"`
	Join     []string `toml:"join"`
	Publish  []string `toml:"publish"`
	Unicast  bool     `toml:"unicast"` // to ports of other uids; replies always may
	Monitor  bool     `toml:"monitor"` // see everything that passes
	Admin    bool     `toml:"admin"`   // everything, and other uids' numbers

	SockConnect []string `toml:"sock_connect"`
	SockBind    []string `toml:"sock_bind"`
	RxCall      []string `toml:"rx_call"`
	RxListen    []string `toml:"rx_listen"`
	RxKeys      []string `toml:"rx_keys"`

	uids, gids                    []uint32
	anyone                        bool
	register, send, join, publish grant
	access                        [actions]accessGrant
}

// LimitRule sets the limits of some uids; the first that matches counts.
type LimitRule struct {
	UID []any `toml:"uid"` // empty: everyone
	Limits

	uids []uint32
}

// HistoryRule gives groups a history from the start.
type HistoryRule struct {
	Group    string        `toml:"group"` // "5", "1-10"
	Messages int           `toml:"messages"`
	Bytes    int           `toml:"bytes"`
	Age      time.Duration `toml:"age"`
	Durable  bool          `toml:"durable"` // kept by the site's store: docs/hosts.md

	groups cbid.Range
}

// grant is a compiled list of ids.
type grant struct {
	all   bool
	rects []cbid.Rect
}

func (g *grant) id(id cbid.ID) bool {
	if g.all {
		return true
	}
	for _, r := range g.rects {
		if r.Idx.Contains(id.Idx) && r.Val.Contains(id.Val) {
			return true
		}
	}
	return false
}

func (g *grant) group(num uint32) bool {
	if g.all {
		return true
	}
	for _, r := range g.rects {
		if r.Idx.Contains(num) {
			return true
		}
	}
	return false
}

func (g *grant) join(o grant) {
	g.all = g.all || o.all
	g.rects = append(g.rects, o.rects...)
}

// rights is what one client may do.
type rights struct {
	connect, unicast, monitor, admin bool
	register, send, joins, publish   grant
}

func (r *rights) mayRegister(id cbid.ID) bool { return r.register.id(id) }
func (r *rights) maySend(id cbid.ID) bool     { return r.send.id(id) }
func (r *rights) mayJoin(group uint32) bool   { return r.joins.group(group) }
func (r *rights) mayPublish(g uint32) bool    { return r.publish.group(g) }

// UserPolicy is the policy of a user's own broker: the user and root may do
// everything, nobody else connects.
func UserPolicy() *Policy {
	p := &Policy{Rules: []Rule{{Name: "own user", UID: []any{"self", int64(0)}, Admin: true}}}
	p.mustCompile()
	return p
}

// SystemPolicy is the policy of a host's broker: root and the broker's own uid may do
// everything; everyone may send to ids, join groups, watch, and have ids and groups from idx 0x100 up,
// outside the kernel's range. The ids of the broker's agents are left out too: whoever had one, here or for other hosts, would
// be given the keys and data meant for the agent. Of the agents everyone gets what the kernel lets every process do: IP connections
// anywhere, ports from 1024 up, RxRPC with keys of one's own. Unix sockets are left out, as who sits at the other end
// would take the client for the broker.
func SystemPolicy() *Policy {
	p := &Policy{Rules: []Rule{
		{Name: "administrators", UID: []any{"self", int64(0)}, Admin: true},
		{
			Name: "everyone", UID: []any{"*"}, Unicast: true, Send: []string{"*"}, Join: []string{"*"},
			Register: []string{"0x100-0x636dffff:*", "0x636e0004-0x636e0005:*", "0x636f0000-0xffffffff:*"}, Publish: []string{"0x100-0xffffffff:*"},
			SockConnect: []string{"tcp *", "udp *"}, SockBind: []string{"tcp *:1024-65535", "udp *:1024-65535"},
			RxCall: []string{"*"}, RxListen: []string{"*:1024-65535"}, RxKeys: []string{"*"},
		},
	}}
	p.mustCompile()
	return p
}

func (p *Policy) mustCompile() {
	if err := p.compile(); err != nil {
		panic(err)
	}
}

// LoadPolicy reads and checks a policy file (docs/policy.md).
func LoadPolicy(path string) (*Policy, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p, err := ParsePolicy(string(b))
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	return p, nil
}

// ParsePolicy reads a policy in TOML. Unknown keys, users, groups and ids are
// errors.
func ParsePolicy(text string) (*Policy, error) {
	var p Policy
	meta, err := toml.Decode(text, &p)
	if err != nil {
		return nil, err
	}
	if un := meta.Undecoded(); len(un) > 0 {
		return nil, fmt.Errorf("unknown key %q", un[0].String())
	}
	if len(p.Rules) == 0 {
		return nil, errors.New("no [[rule]]: nobody could connect")
	}
	if err := p.compile(); err != nil {
		return nil, err
	}
	return &p, nil
}

func (p *Policy) compile() error {
	p.self = uint32(os.Geteuid())
	for i := range p.Rules {
		r := &p.Rules[i]
		if err := p.compileRule(r); err != nil {
			return fmt.Errorf("rule %d %q: %w", i+1, r.Name, err)
		}
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		var anyone bool
		var err error
		if l.uids, anyone, err = p.numbers(l.UID, lookupUser); err != nil {
			return fmt.Errorf("limit %d: %w", i+1, err)
		}
		if anyone {
			l.uids = nil
		}
	}
	for i := range p.Certificates {
		if err := p.compileCert(&p.Certificates[i]); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	for i := range p.Hosts {
		if err := p.compileHost(&p.Hosts[i]); err != nil {
			return fmt.Errorf("host %d %v: %w", i+1, p.Hosts[i].Name, err)
		}
	}
	for i := range p.Histories {
		r := &p.Histories[i]
		var err error
		if r.groups, err = cbid.ParseRange(r.Group); err != nil {
			return fmt.Errorf("history %d: group: %w", i+1, err)
		}
		if r.Messages < 0 || r.Bytes < 0 || r.Age < 0 || r.Messages == 0 && r.Bytes == 0 && r.Age == 0 {
			return fmt.Errorf("history %d: give at least one of messages, bytes, age", i+1)
		}
	}
	return nil
}

func (p *Policy) compileRule(r *Rule) error {
	if len(r.UID) == 0 && len(r.GID) == 0 {
		return errors.New("matches nobody: give uid or gid")
	}
	var anyone bool
	var err error
	if r.uids, r.anyone, err = p.numbers(r.UID, lookupUser); err != nil {
		return fmt.Errorf("uid: %w", err)
	}
	if r.gids, anyone, err = p.numbers(r.GID, lookupGroup); err != nil {
		return fmt.Errorf("gid: %w", err)
	}
	r.anyone = r.anyone || anyone
	for _, f := range []struct {
		key   string
		words []string
		g     *grant
	}{
		{"register", r.Register, &r.register},
		{"send", r.Send, &r.send},
		{"join", r.Join, &r.join},
		{"publish", r.Publish, &r.publish},
	} {
		f.g.all = r.Admin
		for _, w := range f.words {
			if w == "*" {
				f.g.all = true
				continue
			}
			rect, err := cbid.ParseRect(w)
			if err != nil {
				return fmt.Errorf("%s: %w", f.key, err)
			}
			f.g.rects = append(f.g.rects, rect)
		}
	}
	return r.compileAccess()
}

func (p *Policy) numbers(list []any, lookup func(string) (string, error)) (nums []uint32, anyone bool, err error) {
	for _, v := range list {
		switch v := v.(type) {
		case int64:
			if v < 0 || v > 0xfffffffe {
				return nil, false, fmt.Errorf("%d is no uid or gid", v)
			}
			nums = append(nums, uint32(v))
		case string:
			switch v {
			case "*":
				anyone = true
				continue
			case "self":
				nums = append(nums, p.self)
				continue
			}
			s := v
			if _, err := strconv.ParseUint(v, 10, 32); err != nil {
				if s, err = lookup(v); err != nil {
					return nil, false, err
				}
			}
			n, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				return nil, false, fmt.Errorf("%q is no number", s)
			}
			nums = append(nums, uint32(n))
		default:
			return nil, false, fmt.Errorf("%v is neither a name nor a number", v)
		}
	}
	return nums, anyone, nil
}

func lookupUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func lookupGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// rightsOf adds up the rules that match a client.
func (p *Policy) rightsOf(w who) *rights {
	r := &rights{}
	for i := range p.Rules {
		rule := &p.Rules[i]
		if !rule.matches(&w) {
			continue
		}
		r.connect = true
		r.unicast = r.unicast || rule.Unicast || rule.Admin
		r.monitor = r.monitor || rule.Monitor || rule.Admin
		r.admin = r.admin || rule.Admin
		r.register.join(rule.register)
		r.send.join(rule.send)
		r.joins.join(rule.join)
		r.publish.join(rule.publish)
	}
	return r
}

func (r *Rule) matches(w *who) bool {
	if !r.from(w) {
		return false
	}
	if r.anyone {
		return true
	}
	for _, u := range r.uids {
		if u == w.cred.UID {
			return true
		}
	}
	for _, g := range r.gids {
		if g == w.cred.GID {
			return true
		}
		for _, own := range w.gids {
			if g == own {
				return true
			}
		}
	}
	return false
}

// limitsOf returns the limits of uid.
func (p *Policy) limitsOf(uid uint32) Limits {
	for i := range p.Limits {
		l := &p.Limits[i]
		if len(l.uids) == 0 {
			return l.withDefaults()
		}
		for _, u := range l.uids {
			if u == uid {
				return l.withDefaults()
			}
		}
	}
	return Limits{}.withDefaults()
}

// historyOf returns the history that the policy gives a group.
func (p *Policy) historyOf(group uint32) (connector.History, bool) {
	for i := range p.Histories {
		if r := &p.Histories[i]; r.groups.Contains(group) {
			return connector.History{Messages: r.Messages, Bytes: r.Bytes, Age: r.Age, Durable: r.Durable}, true
		}
	}
	return connector.History{}, false
}
