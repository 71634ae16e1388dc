package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

const serveLong = `Run the broker. It needs no configuration and no privilege: as root it serves
the host at /run/cnbus/cnbus.sock, as another user that user alone.

Where the kernel offers process events to this user, they are on the bus under
the id proc (1:1), shared by any number of subscribers; see 'cnbus proc'. Sockets
for whoever the policy lets have them are there under the id tsocket, RxRPC, the
transport of AFS, under the id rxrpc; see 'cnbus sock' and 'cnbus rx'.

SIGTERM and SIGINT end it when all that waits has been written, a second one
at once. SIGHUP reads the policy file, and those of TLS, again and keeps the connections. Sockets
of systemd (LISTEN_FDS) are taken, and readiness is told (Type=notify).`

type serveFlags struct {
	policy  string
	queue   byteSize
	metrics string
	noProc  bool
	noSock  bool
	noRx    bool
	rxPort  uint16
	drain   time.Duration
	join    joinFlags
	tls     *tlsFlags
}

func newServe(app *cli.App) *cobra.Command {
	f := serveFlags{queue: 1 << 20, tls: new(tlsFlags)}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the broker",
		Long:  serveLong,
		Example: `  # your own, no configuration
  cnbus serve

  # at another place, with a policy (docs/policy.md) and figures for Prometheus
  cnbus serve --socket demo.sock --policy policy.toml --metrics unix:metrics.sock

  # with clients on other machines, by TLS
  cnbus serve --listen-tls 192.0.2.1:7400 --cert broker.pem --key broker.key --client-ca site.pem --policy policy.toml

  # with the brokers of other hosts (docs/hosts.md): this one has the NATS server within
  cnbus serve --join embedded --host one`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serve(c.Context(), app, f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.policy, "policy", "", "policy `file` (TOML), or user (the own user and root), or system (everybody, within bounds); default: system for root, else user")
	fl.Var(&f.queue, "queue", "`bytes` that may wait for one client before its senders are told to stop")
	fl.StringVar(&f.metrics, "metrics", "", "serve /metrics, /healthz and /debug/pprof at this loopback `address` or unix:PATH")
	fl.BoolVar(&f.noProc, "no-proc", false, "do not offer the kernel's process events")
	fl.BoolVar(&f.noSock, "no-sock", false, "do not offer sockets")
	fl.BoolVar(&f.noRx, "no-rx", false, "do not offer RxRPC")
	fl.Uint16Var(&f.rxPort, "rx-port", 0, "UDP `port` that RxRPC calls leave from which want none of their own; 0: any")
	_ = c.RegisterFlagCompletionFunc("rx-port", cobra.NoFileCompletions)
	fl.DurationVar(&f.drain, "drain", 5*time.Second, "how long a stop may take to write what waits")
	_ = c.MarkFlagFilename("policy", "toml")
	f.join.add(c)
	f.tls.add(c)
	return c
}

// serve runs a broker until ctx ends.
func serve(ctx context.Context, app *cli.App, f serveFlags) error {
	log := app.Log(slog.LevelInfo)
	hangup := app.Hangup() // from here on it is no longer the end
	if err := f.join.check(); err != nil {
		return err
	}
	policy, err := f.loadPolicy()
	if err != nil {
		return err
	}
	overTLS, err := f.tls.config()
	if err != nil {
		return err
	}
	mon, err := listenMetrics(f.metrics)
	if err != nil {
		return err
	}
	defer mon.close()
	sockets, err := activated()
	if err != nil {
		return err
	}
	b, err := broker.New(&broker.Config{
		Socket: app.SocketPath(), Listeners: sockets, Policy: policy, QueueBytes: int(f.queue), Drain: f.drain, Log: log,
		WillJoin: f.join.join != "", TLS: overTLS,
	})
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	bctx, stopBroker := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBroker()
	go func() { served <- b.Serve(bctx) }()

	var site *joined
	if f.join.join != "" {
		if site, err = startJoin(ctx, b, &f.join, log, app.Notice); err != nil {
			stopBroker()
			return errors.Join(err, <-served)
		}
	}
	agent := procAgent{why: "switched off by --no-proc"}
	if !f.noProc {
		agent = startProc(ctx, b, log)
	}
	net := startAgents(ctx, b, f, log)
	site.offer(offersOf(&agent, net, f.join.agents))
	mon.serve(newCollector(b, agent.stat, net, site), b, log)
	app.Notice("%s", greeting(b, f, &agent, net))
	systemdReady()

	for {
		select {
		case <-hangup:
			reload(ctx, b, &f, log)
			continue
		case err = <-served:
			// Not asked to: something broke.
		case <-ctx.Done():
			systemdStopping()
			log.Debug("stopping, what waits is written first")
			net.Stop()
			agent.stop()
			site.stop()
			stopBroker()
			err = <-served
		}
		net.Stop()
		agent.stop()
		site.stop()
		return err
	}
}

// greeting is the one line that a user sees.
func greeting(b *broker.Broker, f serveFlags, agent *procAgent, net *agents.Agents) string {
	at := b.Path()
	if at == "" {
		at = "sockets from systemd"
	}
	policy := f.policy
	switch f.policyName() {
	case policySystem:
		policy = "system (everybody, within bounds)"
	case policyUser:
		policy = "user (" + cli.User(uint32(os.Geteuid())) + " and root)"
	}
	events := "yes"
	if agent.why != "" {
		events = "no (" + agent.why + ")"
	}
	if b.TLSAddr() != "" {
		at += " and TLS at " + b.TLSAddr()
	}
	return fmt.Sprintf("serving %s; policy: %s; process events: %s; sockets: %s; RxRPC: %s", at, policy, events, offered(net.Sock.Err, "--no-sock"), offered(net.Rx.Err, "--no-rx"))
}
