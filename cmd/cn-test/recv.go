package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

func newRecv(e *env) *cobra.Command {
	var count int
	c := &cobra.Command{
		Use:   "recv GROUP...",
		Short: "Receive messages as ucon does",
		Long: `Join groups and print what comes, in ucon's format. A GROUP is a number, or an id
or name whose group it is. A loss does not end it, as it ended ucon.`,
		Example: `  cn-test recv 291

  # one message
  cn-test recv -n 1 0x123:0x456`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return recv(c.Context(), e, args, count) },
	}
	c.Flags().IntVarP(&count, "count", "n", 0, "end after `n` messages")
	return c
}

func recv(ctx context.Context, e *env, args []string, count int) error {
	groups := make([]uint32, len(args))
	for i, a := range args {
		var err error
		if groups[i], err = cli.ParseGroup(a); err != nil {
			return err
		}
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bus, err := c.Open(ctx, "cn-test recv")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	for _, g := range groups {
		if err := ep.Join(ctx, g); err != nil {
			return err
		}
	}
	e.app.Notice("listening on %s", c.Where)
	for n := 0; count == 0 || n < count; {
		ev, err := ep.Recv(ctx)
		if err != nil {
			return err
		}
		if ev.Kind == connector.EventMessage {
			n++
		}
		if err := e.show("message", &ev, ""); err != nil {
			return err
		}
	}
	return nil
}
