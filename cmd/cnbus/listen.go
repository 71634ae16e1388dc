package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

type listenFlags struct {
	id      string
	name    string
	reply   string
	replies bool
	exec    string
	keep    int
	count   int
	history bool
	after   string
}

func newListen(app *cli.App) *cobra.Command {
	var f listenFlags
	c := &cobra.Command{
		Use:   "listen GROUP... | --id ID",
		Short: "Join groups, or register an id, and print what comes",
		Long: `Join groups and print the messages that come through them; or register an id and
print what is sent to it, and answer calls with --reply or --exec.

A GROUP is a number, or an id or name whose group it is. Lost messages are told
in their place. A group may keep a history: --history begins with all that is
kept, --after EPOCH:POS (from an earlier line of --json) with what was missed.

With --exec CMD the shell runs CMD for each message, its data on stdin; what it
prints is the reply. CNBUS_ID, CNBUS_SEQ, CNBUS_ACK, CNBUS_PORT, CNBUS_UID,
CNBUS_GID and CNBUS_PID are in its environment.`,
		Example: `  # what goes to group 291
  cnbus listen 291

  # an agent that answers
  cnbus listen --id 0x123:0x460 --name demo --reply pong

  # an agent that computes
  cnbus listen --id 0x123:0x461 --exec 'tr a-z A-Z'

  # all that group 291 has kept, and on
  cnbus listen 291 --history --json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeIDs(app, 0),
		RunE: func(c *cobra.Command, args []string) error {
			f.replies = c.Flags().Changed("reply")
			return listen(c.Context(), app, f, args)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.id, "id", "", "register this `id` instead of joining groups")
	fl.StringVar(&f.name, "name", "", "`name` of the registration, for 'cnbus ls' (default \"listen\")")
	fl.StringVar(&f.reply, "reply", "", "answer every call with this `text`")
	fl.StringVar(&f.exec, "exec", "", "run this `command` for every message; its output is the reply")
	fl.IntVar(&f.keep, "keep", 0, "make the group of --id keep its last `n` messages")
	fl.IntVarP(&f.count, "count", "n", 0, "end after `n` messages")
	fl.BoolVar(&f.history, "history", false, "begin with what the groups have kept")
	fl.StringVar(&f.after, "after", "", "begin after this `position`, EPOCH:POS, of the group's history")
	c.MarkFlagsMutuallyExclusive("reply", "exec")
	c.MarkFlagsMutuallyExclusive("history", "after")
	for _, flag := range []string{"id", "name", "reply", "keep", "exec"} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return c
}

// check looks at what cobra cannot.
func (f *listenFlags) check(args []string) error {
	switch {
	case f.id == "" && len(args) == 0:
		return cli.Usagef("a GROUP to join or --id is wanted")
	case f.id != "" && len(args) > 0:
		return cli.Usagef("either groups or --id: run it twice for both")
	case f.id == "" && (f.replies || f.exec != "" || f.name != "" || f.keep != 0):
		return cli.Usagef("--name, --reply, --exec and --keep belong to --id")
	case f.id != "" && (f.history || f.after != ""):
		return cli.Usagef("--history and --after belong to groups")
	case f.after != "" && len(args) != 1:
		return cli.Usagef("--after is a position of one group")
	case f.count < 0 || f.keep < 0:
		return cli.Usagef("--count and --keep must not be negative")
	}
	return nil
}

func listen(ctx context.Context, app *cli.App, f listenFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	if f.id != "" {
		return f.serveID(ctx, app)
	}
	at, err := f.position()
	if err != nil {
		return err
	}
	groups := make([]uint32, len(args))
	for i, a := range args {
		if groups[i], err = cli.ParseGroup(a); err != nil {
			return err
		}
	}
	bus, err := app.DialLive(ctx, "cnbus listen")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.OpenEndpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	for _, g := range groups {
		if f.history || f.after != "" {
			err = ep.JoinAt(ctx, g, at)
		} else {
			err = ep.Join(ctx, g)
		}
		if err != nil {
			return err
		}
	}
	app.Notice("listening to group %s", joinNumbers(groups))
	return f.receive(ctx, app, ep)
}

// position reads --after.
func (f *listenFlags) position() (connector.Position, error) {
	if f.after == "" {
		return connector.Position{}, nil
	}
	epoch, pos, ok := strings.Cut(f.after, ":")
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	p, err2 := strconv.ParseUint(pos, 10, 64)
	if !ok || errors.Join(err1, err2) != nil {
		return connector.Position{}, cli.Usagef("--after %q: EPOCH:POS is wanted, as --json prints them", f.after)
	}
	return connector.Position{Epoch: e, Pos: p}, nil
}

// receive prints what the endpoint gets.
func (f *listenFlags) receive(ctx context.Context, app *cli.App, ep *client.Endpoint) error {
	for n := 0; f.count == 0 || n < f.count; {
		ev, err := ep.Recv(ctx)
		if err != nil {
			return err
		}
		if ev.Kind == connector.EventMessage {
			n++
		}
		if err := f.printEvent(app, ev, ep); err != nil {
			return err
		}
	}
	return nil
}

func (f *listenFlags) printEvent(app *cli.App, ev connector.Event, ep *client.Endpoint) error {
	now := time.Now()
	if app.JSON {
		l := cli.NewEventLine(ev, now)
		if ev.Pos != 0 {
			l.Epoch = ep.Epoch(ev.From.Group)
		}
		return app.Out.JSON(l)
	}
	_, err := fmt.Fprintln(app.Out, cli.EventText(ev, now, app.Out.Style))
	return err
}
