package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// statLine is what `stat --json` prints: the broker's numbers, its clients (those
// of the own uid, all for an administrator), its groups, and its agents.
type statLine struct {
	Broker  broker.StatRow    `json:"broker"`
	Clients []broker.ConnRow  `json:"clients"`
	Groups  []broker.GroupRow `json:"groups"`
	Sock    *sockStatLine     `json:"sock,omitempty"`
	Rx      *rxStatLine       `json:"rx,omitempty"`
}

func newStat(app *cli.App) *cobra.Command {
	var every time.Duration
	var all bool
	c := &cobra.Command{
		Use:   "stat",
		Short: "Show the broker's numbers, who is slow and who lost what",
		Long: `Show what the broker counted, which clients are slow or lost messages, which
groups dropped some, and what the agents of sockets and RxRPC did. You see your
own clients; an administrator sees all.`,
		Example: `  # is all well?
  cnbus stat

  # every client
  cnbus stat --all

  # live
  cnbus stat --watch 1s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return stat(c.Context(), app, every, all) },
	}
	c.Flags().BoolVarP(&all, "all", "a", false, "every client and group, not only those in trouble")
	c.Flags().DurationVarP(&every, "watch", "w", 0, "show it again and again, this far apart")
	return c
}

func stat(ctx context.Context, app *cli.App, every time.Duration, all bool) error {
	if every < 0 {
		return cli.Usagef("--watch %v: a positive time is wanted", every)
	}
	bus, err := app.Dial(ctx, "cnbus stat")
	if err != nil {
		return err
	}
	defer bus.Close()
	var last *statLine
	for {
		s, err := queryStat(ctx, bus)
		if err != nil {
			return err
		}
		if app.JSON {
			err = app.Out.JSON(s)
		} else {
			err = printStat(app, s, last, all, every > 0)
		}
		if err != nil || every == 0 {
			return err
		}
		last = s
		if err := cli.Wait(ctx, every); err != nil {
			return err
		}
	}
}

func queryStat(ctx context.Context, bus *client.Bus) (*statLine, error) {
	var s statLine
	var err error
	if s.Broker, err = cli.Query[broker.StatRow](ctx, bus, "stat"); err != nil {
		return nil, err
	}
	if s.Clients, err = cli.Query[[]broker.ConnRow](ctx, bus, "conns"); err != nil {
		return nil, err
	}
	if s.Groups, err = cli.Query[[]broker.GroupRow](ctx, bus, "groups"); err != nil {
		return nil, err
	}
	return &s, queryAgents(ctx, bus, &s)
}
