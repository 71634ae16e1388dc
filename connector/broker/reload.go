package broker

import "github.com/cnbus/cnbus/connector"

// reload puts p in force.
func (h *hub) reload(p *Policy) {
	h.rules = p
	h.gate.reload(p)
	for _, a := range h.accounts {
		a.limits = p.limitsOf(a.uid)
	}
	for _, c := range h.conns {
		c.route = nil
		c.gids, c.rights = h.known.of(p, c.who())
		if !c.rights.connect {
			h.bye(c, connector.ErrPermission, "the policy no longer lets uid %d connect", c.cred.UID)
		}
	}
	if h.site != nil {
		for _, c := range h.site.proxies {
			c.route = nil
			c.gids, c.rights = h.known.of(p, c.who())
		}
	}
	h.applyHistories()
}

// applyHistories gives the groups that exist the histories of the policy.
func (h *hub) applyHistories() {
	for _, g := range h.groups {
		if want, ok := h.policyHistory(g.num); ok && (want.Durable || g.hist == nil || g.hist.acct == nil) {
			h.setHistory(g, want, nil)
		}
	}
}
