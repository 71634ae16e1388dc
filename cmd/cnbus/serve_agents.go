package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// startAgents starts the agents of sockets and of RxRPC in the broker's process.
func startAgents(ctx context.Context, b *broker.Broker, f serveFlags, log *slog.Logger) *agents.Agents {
	a := agents.Start(ctx, agents.Config{
		Open: func(ctx context.Context) (connector.Bus, error) {
			return client.Dial(ctx, &client.Config{Name: "cnbus serve", Conn: b.Conn, Logger: log})
		},
		OpenRx: func(ctx context.Context) (connector.Bus, error) { return b.Bus(ctx, "cnbus serve") },
		NoSock: f.noSock, NoRx: f.noRx, RxPort: f.rxPort, Allow: b.Allow, Quota: b, Log: log,
	})
	for name, err := range map[string]error{"sockets": a.Sock.Err, "RxRPC": a.Rx.Err} {
		if err != nil && !errors.Is(err, agents.ErrOff) {
			log.Debug("no "+name, "err", err)
		}
	}
	return a
}

// offersOf are the agents that the site gets: those of sockets and of RxRPC if it is to.
func offersOf(proc *procAgent, net *agents.Agents, toSite bool) []offer {
	var all []offer
	if proc.agent != nil {
		all = append(all, offer{"process events", proc.agent.Site})
	}
	if toSite && net.Sock.Err == nil {
		all = append(all, offer{"sockets", net.Sock.Site})
	}
	if toSite && net.Rx.Err == nil {
		all = append(all, offer{"RxRPC calls", net.Rx.Site})
	}
	return all
}

// offered says for people whether something is, and why not.
func offered(err error, flag string) string {
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, agents.ErrOff):
		return "no (switched off by " + flag + ")"
	case errors.Is(err, connector.ErrPermission):
		return `no (the policy does not let the broker itself, uid "self", register it)`
	}
	return "no (" + err.Error() + ")"
}
