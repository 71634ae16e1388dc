package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
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
	return &cobra.Command{
		Use:   "ls",
		Short: "List the sockets: whose, where, how much",
		Long: `List the sockets that the agent has for clients of the broker: their addresses and
state, how many bytes came and went, how many wait to be sent, and whose they
are. Under READS is whether the owner takes what comes. A user sees his own; root,
and the broker's user, see all, and the UDP sockets of the RxRPC agent, whose USER
is <rxrpc>.`,
		Example: `  cnbus sock ls

  # for a script
  cnbus sock ls --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return sockLs(c.Context(), app) },
	}
}

func sockLs(ctx context.Context, app *cli.App) error {
	s, err := sockSnapshot(ctx, app, "cnbus sock")
	if err != nil {
		return err
	}
	if app.JSON {
		for i := range s.Sockets {
			if err := app.Out.JSON(&s.Sockets[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(s.Sockets) == 0 {
		app.Notice("no sockets")
		return nil
	}
	t := cli.NewTable(">SOCK", "KIND", "STATE", "LOCAL", "REMOTE", ">IN", ">OUT", ">QUEUED", "READS", "USER", ">PID", ">PORT")
	for i := range s.Sockets {
		k := &s.Sockets[i]
		t.Row(k.Num, sockKind(k), k.State, dash(k.Local), dash(k.Remote), cli.Bytes(k.BytesIn), cli.Bytes(k.BytesOut), cli.Bytes(k.Queued), reads(k), sockUser(k), k.PID, k.Port)
	}
	return t.Print(app.Out, app.Out.Style)
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

// sockUser is whose the socket is: of a user, or of an agent, in angle brackets, for all of its clients.
func sockUser(k *tsagent.SocketInfo) string {
	if k.Owner != "" {
		return "<" + k.Owner + ">"
	}
	return cli.User(k.UID)
}

func reads(k *tsagent.SocketInfo) string {
	switch {
	case k.Credit > 0:
		return "yes"
	case k.State == "connected" || k.State == "open" || k.State == "listening":
		return "no"
	}
	return "-"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// sockSnapshot asks the agent of sockets what there is.
func sockSnapshot(ctx context.Context, app *cli.App, name string) (*tsagent.Snapshot, error) {
	bus, err := app.Dial(ctx, name)
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	return askSock(ctx, bus)
}

// askSock asks the agent of sockets for its snapshot.
func askSock(ctx context.Context, bus connector.Bus) (*tsagent.Snapshot, error) {
	c, err := tsagent.NewClient(ctx, bus, nil)
	if err != nil {
		return nil, agentMissing(err, "tsocket")
	}
	defer c.Close()
	s, err := c.Stat(ctx)
	return &s, err
}
