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
	r := p.rightsOf(cred, gids)
	v := Verdict{
		Connect: r.connect, Unicast: r.unicast, Monitor: r.monitor, Admin: r.admin, Limits: p.limitsOf(cred.UID),
		Register: r.register.words(), Send: r.send.words(), Join: r.joins.words(), Publish: r.publish.words(),
	}
	v.Rules = p.ruleNames(cred, gids)
	for a, words := range [actions]*[]string{&v.SockConnect, &v.SockBind, &v.RxCall, &v.RxListen, &v.RxKeys} {
		*words = p.accessWords(cred, gids, Action(a))
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
