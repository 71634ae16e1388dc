package main

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

// idLine is one line of `ls --json`.
type idLine struct {
	broker.IDRow
	Rate *float64 `json:"rate,omitempty"` // messages a second, with --rate
}

func newLs(app *cli.App) *cobra.Command {
	var rate time.Duration
	c := &cobra.Command{
		Use:   "ls [IDS]",
		Short: "List the registered ids",
		Long: `List the registered ids, as /proc/net/connector does: name, id, who registered
it, how many listen to its group and how many messages its callback has had.

IDS are ids, names or ranges (1:1, proc, 0x100-0x1ff:*); default: all.`,
		Example: `  # who is there
  cnbus ls

  # who has how much to do
  cnbus ls --rate 1s

  # for a script
  cnbus ls --json proc`,
		RunE: func(c *cobra.Command, args []string) error { return ls(c.Context(), app, args, rate) },
	}
	c.Flags().DurationVar(&rate, "rate", 0, "look twice, this far apart, and tell the messages a second")
	return c
}

func ls(ctx context.Context, app *cli.App, args []string, rate time.Duration) error {
	set, err := cli.ParseSet(args)
	if err != nil {
		return err
	}
	if rate < 0 {
		return cli.Usagef("--rate %v: a positive time is wanted", rate)
	}
	bus, err := app.Dial(ctx, "cnbus ls")
	if err != nil {
		return err
	}
	defer bus.Close()
	rows, err := cli.Query[[]broker.IDRow](ctx, bus, "ids")
	if err != nil {
		return err
	}
	lines := pick(rows, set)
	if rate > 0 {
		start := time.Now()
		if err := cli.Wait(ctx, rate); err != nil {
			return err
		}
		if rows, err = cli.Query[[]broker.IDRow](ctx, bus, "ids"); err != nil {
			return err
		}
		lines = withRate(lines, pick(rows, set), time.Since(start))
	}
	if app.JSON {
		for _, l := range lines {
			if err := app.Out.JSON(l); err != nil {
				return err
			}
		}
		return nil
	}
	return printIDs(app, lines, rate > 0)
}

// pick keeps the rows whose id is in set; nil is every id.
func pick(rows []broker.IDRow, set *cbid.Set) []idLine {
	lines := make([]idLine, 0, len(rows))
	for _, r := range rows {
		if set == nil || set.Contains(r.ID) {
			lines = append(lines, idLine{IDRow: r})
		}
	}
	return lines
}

// withRate gives the second sample the rates since the first. An id that was
// registered anew in between has had all its messages since.
func withRate(before, after []idLine, d time.Duration) []idLine {
	old := make(map[cbid.ID]idLine, len(before))
	for _, l := range before {
		old[l.ID] = l
	}
	for i := range after {
		n := after[i].Messages
		if o, ok := old[after[i].ID]; ok && o.Since.Equal(after[i].Since) && o.Messages <= n {
			n -= o.Messages
		}
		r := math.Round(float64(n)/d.Seconds()*10) / 10
		after[i].Rate = &r
	}
	return after
}

func printIDs(app *cli.App, lines []idLine, rate bool) error {
	if len(lines) == 0 {
		app.Notice("no id is registered")
		return nil
	}
	heads := []string{"NAME", "ID", "GROUP", ">MEMBERS", ">MESSAGES"}
	if rate {
		heads = append(heads, ">RATE/s")
	}
	t := cli.NewTable(append(heads, ">PID", "USER", "PROGRAM", "STATE")...)
	for _, l := range lines {
		cells := []any{l.Name, l.ID, l.Group, l.Members, cli.Count(l.Messages)}
		if rate {
			cells = append(cells, strconv.FormatFloat(*l.Rate, 'f', 1, 64))
		}
		state := "ready"
		if l.Held {
			state = "busy" // senders wait
		}
		t.Row(append(cells, l.Owner.PID, cli.User(l.Owner.UID), l.Owner.Name, state)...)
	}
	return t.Print(app.Out, app.Out.Style)
}
