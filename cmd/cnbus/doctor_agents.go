package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// agentWait is how long an agent may take to answer.
const agentWait = 5 * time.Second

// checkSockets looks at the agents of sockets and of RxRPC, and at what the policy lets the caller do with them.
func checkSockets(ctx context.Context, r *report, bus *client.Bus) {
	v, err := cli.Query[broker.Verdict](ctx, bus, "policy")
	if err != nil {
		return // has been told
	}
	checkSockAgent(ctx, r, bus, &v)
	checkRxAgent(ctx, r, bus, &v)
}

// noSuchAgent tells of an agent that is not there.
func noSuchAgent(r *report, check, id, flag string, err error) {
	if noAgent(err) {
		r.warn(check, fmt.Sprintf("nobody answers for %s: %v", id, err), "the broker says why when it starts; "+flag+" switches it off")
		return
	}
	r.fail(check, err.Error(), "")
}

func checkSockAgent(ctx context.Context, r *report, bus *client.Bus, v *broker.Verdict) {
	const check = "sock agent"
	ctx, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	s, err := askSock(ctx, bus, "")
	if err != nil {
		noSuchAgent(r, check, "tsocket", "cnbus serve --no-sock", err)
		return
	}
	r.ok(check, "answers; %s open", plural(s.Stats.Sockets, "socket"))
	checkMay(r, "sock policy", "sock_connect or sock_bind", []may{{"connect to", v.SockConnect}, {"bind to", v.SockBind}})
}

// checkRxAgent opens a client's socket, which has the agent open its UDP port.
func checkRxAgent(ctx context.Context, r *report, bus *client.Bus, v *broker.Verdict) {
	const check = "rx agent"
	ctx, cancel := context.WithTimeout(ctx, agentWait)
	defer cancel()
	at, err := rxPort(ctx, bus)
	if err != nil {
		noSuchAgent(r, check, "rxrpc", "cnbus serve --no-rx", err)
		return
	}
	r.ok(check, "answers; calls leave from UDP port %d", at.Port())
	checkMay(r, "rx policy", "rx_call or rx_listen", []may{{"call", v.RxCall}, {"serve", v.RxListen}, {"with keys:", v.RxKeys}})
}

// rxPort is where calls leave from that want no port of their own.
func rxPort(ctx context.Context, bus *client.Bus) (netip.AddrPort, error) {
	conn, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer conn.Close()
	s, err := conn.NewSocket(rxrpc.Inet, nil)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer s.Close()
	if err := s.Bind(rxrpc.Addr{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), 0)}); err != nil {
		return netip.AddrPort{}, err
	}
	return s.Getsockname().Addr, nil
}

// may is what a policy lets somebody do.
type may struct {
	verb  string
	words []string
}

func checkMay(r *report, check, keys string, list []may) {
	nothing := true
	texts := make([]string, len(list))
	for i, m := range list {
		texts[i] = m.verb + " "
		switch {
		case len(m.words) == 0:
			texts[i] += "nothing"
			continue
		case len(m.words) == 1 && m.words[0] == "*":
			texts[i] += "everything"
		default:
			texts[i] += strings.Join(m.words, ", ")
		}
		nothing = false
	}
	if nothing {
		r.warn(check, "the policy lets you do nothing with it", "ask who runs the broker for "+keys+" in a [[rule]]: docs/policy.md")
		return
	}
	r.ok(check, "you may %s", strings.Join(texts, "; "))
}
