package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

type callFlags struct {
	payload
	port    uint32
	timeout time.Duration
	raw     bool
}

func newCall(app *cli.App) *cobra.Command {
	var f callFlags
	c := &cobra.Command{
		Use:   "call ID [DATA]",
		Short: "Send a request and print the reply",
		Long: `Send a request to the callback registered under ID and print the data of the
reply: text as it is, anything else in hexadecimal.

Exit code 3 means that no reply came: not in time, or the agent went away.`,
		Example: `  # ask an agent
  cnbus call 0x123:0x456 "how many?"

  # bytes there and back
  cnbus call 0x123:0x456 --hex 01020304

  # not for ever
  cnbus call 0x123:0x456 --timeout 1m ping`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeIDs(app, 1),
		RunE:              func(c *cobra.Command, args []string) error { return call(c.Context(), app, f, args) },
	}
	fl := c.Flags()
	fl.Uint32Var(&f.port, "port", 0, "call this `port` id instead of the registered callback")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Second, "how long the reply is waited for; 0 means for ever")
	fl.BoolVar(&f.hex, "hex", false, "DATA is hexadecimal")
	fl.BoolVar(&f.raw, "raw", false, "print the bytes of the reply as they are")
	_ = c.RegisterFlagCompletionFunc("port", cobra.NoFileCompletions)
	return c
}

func call(ctx context.Context, app *cli.App, f callFlags, args []string) error {
	id, err := cli.ParseID(args[0])
	if err != nil {
		return err
	}
	data, err := f.bytes(app.In, args[1:])
	if err != nil {
		return err
	}
	bus, err := app.Dial(ctx, "cnbus call")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, connector.ErrTimeout)
		defer cancel()
	}
	reply, err := ep.Call(ctx, connector.Message{ID: id, Data: data}, connector.Dest{Port: f.port})
	if err != nil {
		return err
	}
	return f.print(app, reply)
}

func (f *callFlags) print(app *cli.App, reply connector.Event) error {
	switch {
	case app.JSON:
		l := cli.NewMessageLine(reply.Msg, reply.From, time.Now())
		l.Event = "reply"
		return app.Out.JSON(l)
	case f.raw:
		_, err := app.Out.Write(reply.Msg.Data)
		return err
	case len(reply.Msg.Data) == 0:
		app.Notice("an empty reply")
		return nil
	}
	app.Out.Printf("%s\n", cli.Text(reply.Msg.Data))
	return nil
}
