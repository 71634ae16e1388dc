package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

func newSock(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "sock",
		Short: "Look at the sockets that the broker has for its clients",
		Long: `The agent of sockets, id tsocket, opens TCP, UDP and unix sockets for whoever the
policy lets have them: see docs/agents.md.`,
		Example: `  cnbus sock ls`,
		Args:    cobra.NoArgs,
	}
	c.AddCommand(newSockLs(app))
	return c
}

func newSockLs(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the sockets: whose, where, how much",
		Long: `List the sockets that the agent has for clients of the broker: their addresses and
state, how many bytes came and went, how many wait to be sent, how many more
the owner takes before it has read (WINDOW; of a listener: connections), and
whose they are. You see your own; root, and the broker's own user, see all,
the UDP sockets of the RxRPC agent too, whose USER is <rxrpc>.`,
		Example: `  cnbus sock ls

  # live
  cnbus sock ls --watch 1s

  # for a script
  cnbus sock ls --json`,
		Args: cobra.NoArgs,
	}
	var on onHost
	on.register(c)
	again := watchFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return withBus(c.Context(), app, "cnbus sock", func(bus *client.Bus) error {
			return again(c.Context(), app, func() error { return sockLs(c.Context(), app, on, bus) })
		})
	}
	return c
}

func sockLs(ctx context.Context, app *cli.App, on onHost, bus connector.Bus) error {
	s, err := askSock(ctx, bus, on)
	if err != nil {
		return err
	}
	t := cli.NewTable(">SOCK", "KIND", "STATE", "LOCAL", "REMOTE", ">IN", ">OUT", ">QUEUED", ">WINDOW", "USER", ">PID", ">PORT")
	return printList(app, "sockets", s.Sockets, t, func(k *tsagent.SocketInfo) {
		if k.Owner != "" { // its number and port are no business of anybody
			t.Row("-", sockKind(k), k.State, sockAddr(k.Local), sockAddr(k.Remote), cli.Bytes(k.BytesIn), cli.Bytes(k.BytesOut), cli.Bytes(k.Queued), window(k), "<"+k.Owner+">", "-", "-")
			return
		}
		t.Row(k.Num, sockKind(k), k.State, sockAddr(k.Local), sockAddr(k.Remote), cli.Bytes(k.BytesIn), cli.Bytes(k.BytesOut), cli.Bytes(k.Queued), window(k), cli.User(k.UID), k.PID, k.Port)
	})
}

// sockKind is the kind in the words of a policy; tcp6 and udp6 tell the family.
func sockKind(k *tsagent.SocketInfo) string {
	switch {
	case k.Family == "unix":
		return "unix-" + k.Type
	case k.Type == "stream":
		return "tcp" + strings.TrimPrefix(strings.TrimPrefix(k.Family, "ipv4"), "ipv")
	}
	return "udp" + strings.TrimPrefix(strings.TrimPrefix(k.Family, "ipv4"), "ipv")
}

// window is how much the owner takes.
func window(k *tsagent.SocketInfo) string {
	switch {
	case k.State == "listening":
		return cli.Count(int(max(k.Credit, 0)))
	case k.State == "connected" || k.State == "open" || k.Credit > 0:
		return cli.Bytes(max(k.Credit, 0))
	}
	return "-"
}

// sockAddr is an address without the family, which the kind tells.
func sockAddr(s string) string {
	for _, family := range []string{"ipv4:", "ipv6:", "unix:"} {
		s = strings.TrimPrefix(s, family)
	}
	if s == "" {
		return "-"
	}
	return s
}

// askSock asks the agent of sockets for its snapshot.
func askSock(ctx context.Context, bus connector.Bus, on onHost) (*tsagent.Snapshot, error) {
	host, err := on.number(ctx, bus)
	if err != nil {
		return nil, err
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	defer ep.Close()
	s, err := tsagent.QueryStat(ctx, ep, host)
	return &s, on.missing(err, host, "tsocket")
}
