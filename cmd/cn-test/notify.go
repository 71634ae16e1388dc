package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

func newNotify(e *env) *cobra.Command {
	var count int
	c := &cobra.Command{
		Use:   "notify [IDS]",
		Short: "Ask to be notified of registrations, and print them",
		Long: `Ask through the control id {-1,-1}, with a cn_ctl_msg as in 2005, to be notified
of the registrations and removals of ids, and print them: ack 0 is a
registration, ack 1 a removal. IDS are ids or ranges; default: the ranges of
cn_test.

Only what changes is told; 'cnbus watch' tells the present state too.`,
		Example: `  # the ranges of cn_test.c
  cn-test notify

  # two changes of anything
  cn-test notify -n 2 '*'`,
		RunE: func(c *cobra.Command, args []string) error { return notify(c.Context(), e, args, count) },
	}
	c.Flags().IntVarP(&count, "count", "n", 0, "end after `n` notifications")
	return c
}

func notify(ctx context.Context, e *env, args []string, count int) error {
	set, err := cli.ParseSet(args)
	if err != nil {
		return err
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if !c.Registry {
		return fmt.Errorf("%s has no registry: nobody there could tell: %w", c.Where, connector.ErrNotSupported)
	}
	bus, err := c.Open(ctx, "cn-test notify")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	group := notifyGroup(ep.Port())
	if err := ep.Join(ctx, group); err != nil {
		return err
	}
	requests := []connector.Ctl{wantNotify(cbid.Make(0x123, 0x456), group)}
	if set != nil {
		requests = requests[:0]
		for _, r := range set.Rects() {
			ctl, err := ctlOf(r, group)
			if err != nil {
				return &cli.UsageError{Err: err}
			}
			requests = append(requests, ctl)
		}
	}
	for _, ctl := range requests {
		if err := askNotify(ctx, ep, ctl); err != nil {
			return err
		}
	}
	e.app.Notice("asked on %s", c.Where)
	for n := 0; count == 0 || n < count; {
		ev, err := ep.Recv(ctx)
		if err != nil {
			return err
		}
		what := "message"
		if ev.Kind == connector.EventMessage {
			n++
			what = notification(&ev.Msg)
		}
		if err := e.show(what, &ev, what); err != nil {
			return err
		}
	}
	return nil
}
