package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

type sendFlags struct {
	payload
	port, group uint32
	groupText   string
	lines       bool
	wait        bool
	drop        bool
	seq, ack    uint32
	timeout     time.Duration
}

func newSend(app *cli.App) *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use:   "send ID [DATA]",
		Short: "Send a message",
		Long: `Send a message with that id: to the callback registered under it, or with --port
or --group to that port or the members of that group. It returns when every
receiver has it.

DATA is text, or "-" for all of stdin; without it the message is empty.`,
		Example: `  # to whoever registered the id
  cnbus send 0x123:0x456 "hello"

  # to everybody in group 291
  cnbus send 0x123:0x456 --group 291 "hello all"

  # one message for each line
  seq 3 | cnbus send 0x123:0x456 --lines

  # bytes
  cnbus send 0x123:0x456 --hex "de ad be ef"`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeIDs(app, 1),
		RunE:              func(c *cobra.Command, args []string) error { return send(c.Context(), app, f, args) },
	}
	fl := c.Flags()
	fl.Uint32Var(&f.port, "port", 0, "send to this `port` id")
	fl.StringVar(&f.groupText, "group", "", "send to the members of this `group` (a number, or an id whose group it is)")
	fl.BoolVar(&f.hex, "hex", false, "DATA is hexadecimal")
	fl.BoolVar(&f.lines, "lines", false, "send each line of stdin as a message")
	fl.BoolVar(&f.wait, "wait", false, "wait for every member of the group that is full")
	fl.BoolVar(&f.drop, "drop", false, "drop for receivers that are full, do not wait")
	fl.Uint32Var(&f.seq, "seq", 0, "seq of the message")
	fl.Uint32Var(&f.ack, "ack", 0, "ack of the message")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long a full receiver is waited for; 0 means for ever")
	c.MarkFlagsMutuallyExclusive("port", "group")
	c.MarkFlagsMutuallyExclusive("wait", "drop")
	c.MarkFlagsMutuallyExclusive("lines", "hex")
	_ = c.RegisterFlagCompletionFunc("port", cobra.NoFileCompletions)
	return c
}

func send(ctx context.Context, app *cli.App, f sendFlags, args []string) error {
	id, err := cli.ParseID(args[0])
	if err != nil {
		return err
	}
	if f.groupText != "" {
		if f.group, err = cli.ParseGroup(f.groupText); err != nil {
			return err
		}
		if f.group == 0 {
			return cli.Usagef("--group 0: there is no group 0")
		}
	}
	if f.lines && len(args) > 1 {
		return cli.Usagef("--lines reads stdin: DATA has no place beside it")
	}
	var data []byte
	if !f.lines {
		if data, err = f.bytes(app.In, args[1:]); err != nil {
			return err
		}
	}
	bus, err := app.Dial(ctx, "cnbus send")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	return f.sendAll(ctx, app, ep, connector.Message{ID: id, Seq: f.seq, Ack: f.ack, Data: data})
}

// sendAll sends m, or m with each line of stdin.
func (f *sendFlags) sendAll(ctx context.Context, app *cli.App, ep connector.Endpoint, m connector.Message) error {
	if !f.lines {
		return f.one(ctx, app, ep, m)
	}
	for line, err := range lines(app.In) {
		if err != nil {
			return err
		}
		m.Data = line
		if err := f.one(ctx, app, ep, m); err != nil {
			return err
		}
		m.Seq++
	}
	return nil
}

func (f *sendFlags) one(ctx context.Context, app *cli.App, ep connector.Endpoint, m connector.Message) error {
	to := connector.Dest{Port: f.port, Group: f.group}
	switch {
	case f.wait:
		to.Full = connector.FullWait
	case f.drop:
		to.Full = connector.FullDrop
	}
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, f.timeout, connector.ErrTimeout)
		defer cancel()
	}
	if err := ep.Send(ctx, m, to); err != nil {
		return err
	}
	if app.Verbose {
		app.Notice("sent %d bytes to %s", len(m.Data), destText(m.ID, to))
	}
	return nil
}

func destText(id cbid.ID, to connector.Dest) string {
	switch {
	case to.Port != 0:
		return "port " + uidLabel(to.Port)
	case to.Group != 0:
		return "group " + uidLabel(to.Group)
	}
	return id.String()
}
