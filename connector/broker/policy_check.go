package broker

import "github.com/cnbus/cnbus/connector"

// Verdict is what a policy says of one client, for `cnbus policy check`.
type Verdict struct {
	Connect  bool     `json:"connect"`
	Register []string `json:"register"`
	Send     []string `json:"send"`
	Join     []string `json:"join"`
	Publish  []string `json:"publish"`
	Unicast  bool     `json:"unicast"`
	Monitor  bool     `json:"monitor"`
	Admin    bool     `json:"admin"`

	SockConnect []string `json:"sock_connect"`
	SockBind    []string `json:"sock_bind"`
	RxCall      []string `json:"rx_call"`
	RxListen    []string `json:"rx_listen"`
	RxKeys      []string `json:"rx_keys"`

	Limits Limits   `json:"limits"`
	Rules  []string `json:"rules"` // that matched
}

// Check tells what a client with these credentials may do.
func (p *Policy) Check(cred connector.Cred, gids []uint32) Verdict {
	return p.check(who{cred: cred, gids: gids})
}

// CheckHost is Check for a client of another host of the site, with the credentials that it has here (HostCred).
func (p *Policy) CheckHost(host string, cred connector.Cred) Verdict {
	return p.check(who{cred: cred, foreign: true, host: host})
}

func (p *Policy) check(w who) Verdict {
	r := p.rightsOf(w)
	v := Verdict{
		Connect: r.connect, Unicast: r.unicast, Monitor: r.monitor, Admin: r.admin, Limits: p.limitsOf(w.cred.UID),
		Register: r.register.words(), Send: r.send.words(), Join: r.joins.words(), Publish: r.publish.words(),
	}
	v.Rules = p.ruleNames(&w)
	for a, words := range [actions]*[]string{&v.SockConnect, &v.SockBind, &v.RxCall, &v.RxListen, &v.RxKeys} {
		*words = p.accessWords(&w, Action(a))
	}
	return v
}

func (g *grant) words() []string {
	if g.all {
		return []string{"*"}
	}
	words := make([]string, 0, len(g.rects))
	for _, r := range g.rects {
		words = append(words, r.String())
	}
	return words
}
