package broker

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// gate is the policy for those who ask about clients from outside the loop: agents in the broker's
// process, for what they do on behalf of a client.
type gate struct {
	log *slog.Logger

	limits atomic.Pointer[Policy] // that is in force, for who only asks for limits

	mu       sync.Mutex // guards all below
	policy   *Policy
	known    map[connector.Cred]*knownCred
	own      uint32                       // number of this host in its site
	hosts    map[uint32]string            // names of the others
	denied   map[string]uint64            // by action
	exceeded map[uint32]map[string]uint64 // by uid and limit
	lines    warnings
}

// knownCred is what all connections with the same credentials have in common.
type knownCred struct {
	conns int
	gids  []uint32
}

func newGate(log *slog.Logger, p *Policy) *gate {
	g := &gate{
		log: log, policy: p, known: make(map[connector.Cred]*knownCred), hosts: make(map[uint32]string), denied: make(map[string]uint64),
		exceeded: make(map[uint32]map[string]uint64),
	}
	g.limits.Store(p)
	return g
}

// enter notes a client that connects.
func (g *gate) enter(cred connector.Cred, gids []uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.known[cred]
	if k == nil {
		g.known[cred] = &knownCred{conns: 1, gids: gids}
		return
	}
	k.conns++
	if !slices.Equal(k.gids, gids) { // it has changed its groups in between: which connection asks is not known
		k.gids = slices.DeleteFunc(slices.Clone(k.gids), func(n uint32) bool { return !slices.Contains(gids, n) })
	}
}

// leave notes that one of them has gone.
func (g *gate) leave(cred connector.Cred) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if k := g.known[cred]; k != nil {
		if k.conns--; k.conns == 0 {
			delete(g.known, cred)
		}
	}
}

// join notes the number of this host in its site.
func (g *gate) join(own uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.own = own
}

// hostUp notes the name of another host; "" forgets it.
func (g *gate) hostUp(host uint32, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if name == "" {
		delete(g.hosts, host)
	} else {
		g.hosts[host] = name
	}
}

func (g *gate) reload(p *Policy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy = p
	g.limits.Store(p)
}

// allow is Broker.Allow.
func (g *gate) allow(from connector.From, a Access, now int64) error {
	tell, omitted, err := g.decide(from, a, now)
	g.say(tell, omitted, "denied by policy", from.Cred, err)
	return err
}

// say writes a line to the log if it is granted, and how many were not.
func (g *gate) say(granted bool, omitted map[uint32]int, msg string, cred connector.Cred, why any) {
	for uid, n := range omitted {
		g.log.Warn("lines left out", "uid", uid, "lines", n)
	}
	if granted {
		g.log.Warn(msg, "uid", cred.UID, "pid", cred.PID, "why", why)
	}
}

// exceed is Broker.Exceeded.
func (g *gate) exceed(cred connector.Cred, what string, limit, now int64) {
	g.mu.Lock()
	if g.exceeded[cred.UID] == nil {
		g.exceeded[cred.UID] = make(map[string]uint64)
	}
	g.exceeded[cred.UID][what]++
	tell, omitted := g.lines.one(now, cred.UID)
	g.mu.Unlock()
	g.say(tell, omitted, "limit", cred, limitText(cred.UID, what, limit))
}

// excess returns how often each uid has reached which limits of the agents.
func (g *gate) excess() map[uint32]map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[uint32]map[string]uint64, len(g.exceeded))
	for uid, m := range g.exceeded {
		all[uid] = maps.Clone(m)
	}
	return all
}

func (g *gate) decide(from connector.From, a Access, now int64) (tell bool, omitted map[uint32]int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := who{cred: from.Cred}
	if host := connector.HostOf(from.Port); host != 0 && host != g.own {
		// The groups of a process of this host that has the same numbers are not those of one elsewhere.
		w.foreign, w.host = true, g.hosts[host]
	} else if k := g.known[from.Cred]; k != nil {
		w.gids = k.gids
	}
	if err = g.policy.allow(&w, a); err == nil {
		return false, nil, nil
	}
	g.denied[a.Action.String()]++
	tell, omitted = g.lines.one(now, from.Cred.UID)
	return tell, omitted, err
}

// counts returns how often each action was denied.
func (g *gate) counts() map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.denied)
}

// Allow says whether the policy in force lets the client with this port and these credentials, which are those of
// a Delivery, have an agent of the broker's process do a. A refusal is a *DeniedError; it is logged and counted.
// It may be called from any goroutine.
func (b *Broker) Allow(from connector.From, a Access) error {
	return b.loop.hub.gate.allow(from, a, time.Now().UnixNano())
}

// Limits returns the limits that the policy in force gives a user: those that have a default have it, negative ones are none. An
// agent of the broker's process asks for those that are about what it holds for clients, each time, as a reload changes them. It
// takes no lock and may be called from any goroutine.
func (b *Broker) Limits(uid uint32) Limits { return b.loop.hub.gate.limits.Load().limitsOf(uid) }

// Exceeded has a refusal logged and counted, of a client that has reached a limit, as those of the broker itself are: what is the
// name of the limit. It may be called from any goroutine.
func (b *Broker) Exceeded(cred connector.Cred, what string, limit int64) {
	b.loop.hub.gate.exceed(cred, what, limit, time.Now().UnixNano())
}
