package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// idLine is one line of `ls --json`.
type idLine struct {
	broker.IDRow
	Published uint64   `json:"published"`            // messages to its group, which all ids of that idx share
	Rate      *float64 `json:"rate,omitempty"`       // messages to the callback a second, with --rate
	GroupRate *float64 `json:"group_rate,omitempty"` // messages to the group a second, with --rate
}

func newLs(app *cli.App) *cobra.Command {
	var rate time.Duration
	c := &cobra.Command{
		Use:   "ls [IDS]",
		Short: "List the registered ids",
		Long: `List the registered ids, as /proc/net/connector does, and more: how many listen
to the group, how many messages the callback got and how many were published to
the group, and who registered it. A busy agent asked its senders to wait; the
host of an unreachable one cannot be seen at present, and one with no contact to
the site is for its own host alone until it has.

IDS are ids, names or ranges (1:1, proc, 0x100-0x1ff:*); default: all.`,
		Example: `  # who is there
  cnbus ls

  # who has how much to do
  cnbus ls --rate 1s

  # for a script
  cnbus ls --json proc`,
		ValidArgsFunction: completeIDs(app, 0),
		RunE:              func(c *cobra.Command, args []string) error { return ls(c.Context(), app, args, rate) },
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
	lines, err := queryIDs(ctx, bus, set)
	if err != nil {
		return err
	}
	if rate > 0 {
		start := time.Now()
		if err := cli.Wait(ctx, rate); err != nil {
			return err
		}
		after, err := queryIDs(ctx, bus, set)
		if err != nil {
			return err
		}
		lines = withRate(lines, after, time.Since(start))
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

// queryIDs returns the registered ids in set; nil is every id.
func queryIDs(ctx context.Context, bus *client.Bus, set *cbid.Set) ([]idLine, error) {
	rows, err := cli.Query[[]broker.IDRow](ctx, bus, "ids")
	if err != nil {
		return nil, err
	}
	groups, err := cli.Query[[]broker.GroupRow](ctx, bus, "groups")
	if err != nil {
		return nil, err
	}
	published := make(map[uint32]uint64, len(groups))
	for _, g := range groups {
		published[g.Group] = g.Published
	}
	lines := make([]idLine, 0, len(rows))
	for _, r := range rows {
		if set == nil || set.Contains(r.ID) {
			lines = append(lines, idLine{IDRow: r, Published: published[r.Group]})
		}
	}
	return lines, nil
}

// withRate gives the second sample the rates since the first. An id that was
// registered anew in between has had all its messages since.
func withRate(before, after []idLine, d time.Duration) []idLine {
	old := make(map[cbid.ID]idLine, len(before))
	for _, l := range before {
		old[l.ID] = l
	}
	for i := range after {
		o, ok := old[after[i].ID]
		if !ok || !o.Since.Equal(after[i].Since) {
			o.Messages = 0
		}
		after[i].Rate = perSecond(o.Messages, after[i].Messages, d)
		after[i].GroupRate = perSecond(o.Published, after[i].Published, d)
	}
	return after
}

// perSecond is a rate to a tenth. A counter that went back was begun anew.
func perSecond(before, after uint64, d time.Duration) *float64 {
	if after >= before {
		after -= before
	}
	r := math.Round(float64(after)/d.Seconds()*10) / 10
	return &r
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
	heads = append(heads, ">PUBLISHED")
	if rate {
		heads = append(heads, ">RATE/s")
	}
	t := cli.NewTable(append(heads, ">PID", "USER", "PROGRAM")...)
	for _, l := range lines {
		cells := []any{l.Name, l.ID, l.Group, l.Members, cli.Count(l.Messages)}
		if rate {
			cells = append(cells, formatRate(l.Rate))
		}
		cells = append(cells, cli.Count(l.Published))
		if rate {
			cells = append(cells, formatRate(l.GroupRate))
		}
		program := l.Owner.Name
		if l.Host != 0 {
			program = fmt.Sprintf("on host %d", l.Host)
		}
		if l.Unknown {
			program += " (unreachable)"
		}
		if l.Suspended {
			program += " (no contact to the site)"
		}
		if l.Held {
			program += " (busy)" // its senders wait
		}
		t.Row(append(cells, l.Owner.PID, cli.User(l.Owner.UID), program)...)
	}
	return t.Print(app.Out, app.Out.Style)
}

func formatRate(r *float64) string { return strconv.FormatFloat(*r, 'f', 1, 64) }
