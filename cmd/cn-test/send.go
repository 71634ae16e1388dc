package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

type sendFlags struct {
	count    int
	group    uint32
	interval time.Duration
}

func newSend(e *env) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send ID [TEXT]",
		Short: "Send messages as ucon -s does",
		Long: `Send messages with that id: to its callback, or with --group to the members of
that group. seq counts up. Without TEXT the data are "counter = N".`,
		Example: `  # three messages to the group of an id
  cn-test send 0x123:0x456 --group 291 -n 3

  # one, to its callback
  cn-test send 0x123:0x456 hello`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return send(c.Context(), e, f, args) },
	}
	fl := c.Flags()
	fl.IntVarP(&f.count, "count", "n", 1, "how many `messages`")
	fl.Uint32Var(&f.group, "group", 0, "send to the members of this `group`")
	fl.DurationVar(&f.interval, "interval", 0, "the time between two of them")
	return c
}

func send(ctx context.Context, e *env, f sendFlags, args []string) error {
	id, err := cli.ParseID(args[0])
	if err != nil {
		return err
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bus, err := c.Open(ctx, "cn-test send")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	start := time.Now()
	for n := range f.count {
		if n > 0 && f.interval > 0 {
			if err := cli.Wait(ctx, f.interval); err != nil {
				return err
			}
		}
		data := fmt.Appendf(nil, "counter = %d\x00", n)
		if len(args) > 1 {
			data = []byte(args[1] + "\x00")
		}
		if err := ep.Send(ctx, connector.Message{ID: id, Seq: uint32(n), Data: data}, connector.Dest{Group: f.group}); err != nil {
			return fmt.Errorf("after %d of %d: %w", n, f.count, err)
		}
	}
	e.app.Notice("%d sent and confirmed in %s", f.count, cli.Duration(time.Since(start)))
	return nil
}
