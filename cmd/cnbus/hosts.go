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
	var every time.Duration
	c := &cobra.Command{
		Use:   "hosts",
		Short: "List the hosts of the site",
		Long: `List the hosts that the broker has joined ('cnbus serve --join'), its own first:
whether each can be reached, when it was last heard of, how far away it is, how
much of its lease is left, its site-wide ids, the groups with members there, the
messages and bytes from and to it (groups without confirmation are in those of the
own host alone), the packets that were sent again, and the group messages
of it that were lost. An unreachable host's ids are unknown until its lease
has ended; then they are gone.

What is wrong is said below the list. Exit code 1 means that this host is not in
its site.`,
		Example: `  # who is there
  cnbus hosts

  # again and again
  cnbus hosts --watch 1s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return hosts(c.Context(), app, every) },
	}
	c.Flags().DurationVarP(&every, "watch", "w", 0, "show it again and again, this far apart")
	_ = c.RegisterFlagCompletionFunc("watch", cobra.NoFileCompletions)
	return c
}

func notJoined(err error) error {
	return fmt.Errorf("this broker has not joined others ('cnbus serve --join', docs/hosts.md): %w", err)
}

func hosts(ctx context.Context, app *cli.App, every time.Duration) error {
	if every < 0 {
		return cli.Usagef("--watch %v: a positive time is wanted", every)
	}
	bus, err := app.Dial(ctx, "cnbus hosts")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		rows, err := natsbridge.QueryHosts(ctx, ep)
		if errors.Is(err, connector.ErrNoID) {
			return notJoined(err)
		}
		if err != nil {
			return err
		}
		if err := printHosts(app, rows, first, every > 0); err != nil {
			return err
		}
		if every == 0 {
			if s := rows[0].State; s == natsbridge.StateJoining || s == natsbridge.StateSuspended {
				return cli.ErrSilent
			}
			return nil
		}
		if err := cli.Wait(ctx, every); err != nil {
			return err
		}
	}
}

func printHosts(app *cli.App, rows []natsbridge.HostRow, first, live bool) error {
	if app.JSON {
		for i := range rows {
			if err := app.Out.JSON(rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case live && app.Out.TTY:
		app.Out.Printf("\x1b[H\x1b[2J") // home, clear
	case !first:
		app.Out.Printf("\n")
	}
	t := cli.NewTable(">NUMBER", "HOST", "STATE", ">HEARD", ">RTT", ">LEASE", ">IDS", ">GROUPS", ">IN", ">OUT", ">BYTES IN", ">BYTES OUT", ">RESENT", ">LOST")
	for i := range rows {
		r := &rows[i]
		number, heard, rtt, lease := "-", "-", "-", "-"
		if r.Number != 0 {
			number, lease = fmt.Sprint(r.Number), seconds(r.Lease)
		}
		if i > 0 {
			heard = seconds(r.Heard)
		}
		if r.RTT > 0 {
			rtt = cli.Duration(r.RTT)
		}
		t.Row(number, r.Name, r.State, heard, rtt, lease, r.IDs, r.Groups, cli.Count(r.In), cli.Count(r.Out), cli.Bytes(r.BytesIn), cli.Bytes(r.BytesOut), cli.Count(r.Resent), cli.Count(r.Lost))
	}
	if err := t.Print(app.Out, app.Out.Style); err != nil {
		return err
	}
	for _, w := range siteWords(rows) {
		app.Out.Printf("%s\n", app.Out.Style.Yellow(w))
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// siteWords says what is wrong with the site, as its broker sees it.
func siteWords(rows []natsbridge.HostRow) (words []string) {
	if len(rows) == 0 {
		return nil
	}
	if self := &rows[0]; self.Why != "" {
		words = append(words, self.Why)
	}
	for i := range rows[1:] {
		if r := &rows[1+i]; r.State == "unreachable" {
			words = append(words, fmt.Sprintf("%s is unreachable: its %s unknown, and gone in %s unless it is heard of", r.Name, areIDs(r.IDs), seconds(r.Lease)))
		}
	}
	return words
}

func areIDs(n int) string {
	if n == 1 {
		return "1 id is"
	}
	return fmt.Sprintf("%d ids are", n)
}
