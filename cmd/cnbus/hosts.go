package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

func newHosts(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts of the site",
		Long: `List the hosts that the broker has joined ('cnbus serve --join'), its own first:
whether each can be reached, when it was last heard of, how far away it is, how
much of its lease is left, its site-wide ids, the groups with members there, and
the messages from and to it. An unreachable host's ids are unknown until its
lease has ended; then they are gone.`,
		Example: `  # who is there
  cnbus hosts`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return hosts(c.Context(), app) },
	}
}

func notJoined(err error) error {
	return fmt.Errorf("this broker has not joined others ('cnbus serve --join', docs/hosts.md): %w", err)
}

func hosts(ctx context.Context, app *cli.App) error {
	bus, err := app.Dial(ctx, "cnbus hosts")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	rows, err := natsbridge.QueryHosts(ctx, ep)
	if errors.Is(err, connector.ErrNoID) {
		return notJoined(err)
	}
	if err != nil {
		return err
	}
	if app.JSON {
		for _, r := range rows {
			if err := app.Out.JSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	t := cli.NewTable(">NUMBER", "HOST", "STATE", ">HEARD", ">RTT", ">LEASE", ">IDS", ">GROUPS", ">IN", ">OUT", ">RESENT")
	for _, r := range rows {
		heard, rtt := "-", "-"
		if r.Heard > 0 {
			heard = r.Heard.Round(100 * time.Millisecond).String()
		}
		if r.RTT > 0 {
			rtt = r.RTT.Round(10 * time.Microsecond).String()
		}
		t.Row(r.Number, r.Name, r.State, heard, rtt, r.Lease.Round(100*time.Millisecond), r.IDs, r.Groups, r.In, r.Out, r.Resent)
	}
	return t.Print(app.Out, app.Out.Style)
}
