package broker

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cnbus/cnbus/connector"
)

// gate is the policy for those who ask about clients from outside the loop: agents in the broker's
// process, for what they do on behalf of a client.
type gate struct {
	log *slog.Logger

	mu     sync.Mutex // guards all below
	policy *Policy
	known  map[connector.Cred]*knownCred
	denied map[string]uint64 // by action
	lines  warnings
}

// knownCred is what all connections with the same credentials have in common.
type knownCred struct {
	conns int
	gids  []uint32
}

func newGate(log *slog.Logger, p *Policy) *gate {
	return &gate{log: log, policy: p, known: make(map[connector.Cred]*knownCred), denied: make(map[string]uint64)}
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

func (g *gate) reload(p *Policy) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.policy = p
}

// allow is Broker.Allow.
func (g *gate) allow(cred connector.Cred, a Access, now int64) error {
	tell, omitted, err := g.decide(cred, a, now)
	for uid, n := range omitted {
		g.log.Warn("lines left out", "uid", uid, "lines", n)
	}
	if tell {
		g.log.Warn("denied by policy", "uid", cred.UID, "pid", cred.PID, "why", err)
	}
	return err
}

func (g *gate) decide(cred connector.Cred, a Access, now int64) (tell bool, omitted map[uint32]int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var gids []uint32
	if k := g.known[cred]; k != nil {
		gids = k.gids
	}
	if err = g.policy.Allow(cred, gids, a); err == nil {
		return false, nil, nil
	}
	g.denied[a.Action.String()]++
	tell, omitted = g.lines.one(now, cred.UID)
	return tell, omitted, err
}

// counts returns how often each action was denied.
func (g *gate) counts() map[string]uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.denied)
}

// Allow says whether the policy in force lets the client with these credentials, which are those of
// a Delivery, have an agent of the broker's process do a. A refusal is a *DeniedError; it is logged and counted.
// It may be called from any goroutine.
func (b *Broker) Allow(cred connector.Cred, a Access) error {
	return b.loop.hub.gate.allow(cred, a, time.Now().UnixNano())
}
