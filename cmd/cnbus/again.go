package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/client"
)

// watchFlag adds --watch, and returns what runs something again and again if that is wanted.
func watchFlag(c *cobra.Command) func(ctx context.Context, app *cli.App, show func() error) error {
	var every time.Duration
	c.Flags().DurationVarP(&every, "watch", "w", 0, "show it again and again, this far apart")
	return func(ctx context.Context, app *cli.App, show func() error) error {
		if every < 0 {
			return cli.Usagef("--watch %v: a positive time is wanted", every)
		}
		for {
			if err := show(); err != nil || every == 0 {
				return err
			}
			if err := cli.Wait(ctx, every); err != nil {
				return err
			}
			if !app.JSON {
				app.Out.Printf("\n")
			}
		}
	}
}

// withBus runs f with a connection to the broker.
func withBus(ctx context.Context, app *cli.App, name string, f func(*client.Bus) error) error {
	bus, err := app.Dial(ctx, name)
	if err != nil {
		return err
	}
	defer bus.Close()
	return f(bus)
}

// printList prints rows as a table, to which row adds one, or as JSON; a notice if there are none of what they are.
func printList[T any](app *cli.App, what string, rows []T, t *cli.Table, row func(*T)) error {
	for i := range rows {
		if !app.JSON {
			row(&rows[i])
		} else if err := app.Out.JSON(&rows[i]); err != nil {
			return err
		}
	}
	switch {
	case app.JSON:
		return nil
	case len(rows) == 0:
		app.Notice("no %s", what)
		return nil
	}
	return t.Print(app.Out, app.Out.Style)
}
