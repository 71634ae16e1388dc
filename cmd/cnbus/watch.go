package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

// changeLine is one line of `watch --json`. A marker stands between what was there
// and what changes; after a resync the present state follows anew.
type changeLine struct {
	Change  string     `json:"change"` // present, marker, added, removed, unknown, resync
	Time    time.Time  `json:"time"`
	ID      *cbid.ID   `json:"id,omitempty"`
	Name    string     `json:"name,omitempty"`
	Group   *uint32    `json:"group,omitempty"`
	Owner   *ownerLine `json:"owner,omitempty"`
	Unknown bool       `json:"unknown,omitempty"` // its host cannot be reached
}

type ownerLine struct {
	Port uint32 `json:"port"`
	UID  uint32 `json:"uid"`
	GID  uint32 `json:"gid"`
	PID  uint32 `json:"pid"`
}

func newWatch(app *cli.App) *cobra.Command {
	var count int
	c := &cobra.Command{
		Use:   "watch [IDS]",
		Short: "Tell when ids appear and go",
		Long: `Print which ids are registered, then every registration and removal, with no gap
between them.

IDS are ids, names or ranges (1:1, proc, 0x100-0x1ff:*); default: all.`,
		Example: `  # all of them
  cnbus watch

  # wait until somebody registers the id, or see that it is there
  cnbus watch --count 1 0x123:0x456

  # a range, for a script
  cnbus watch --json 0x100-0x1ff:*`,
		ValidArgsFunction: completeIDs(app, 0),
		RunE:              func(c *cobra.Command, args []string) error { return watch(c.Context(), app, args, count) },
	}
	c.Flags().IntVarP(&count, "count", "n", 0, "end after `n` ids or changes")
	return c
}

func watch(ctx context.Context, app *cli.App, args []string, count int) error {
	set, err := cli.ParseSet(args)
	if err != nil {
		return err
	}
	bus, err := app.DialLive(ctx, "cnbus watch")
	if err != nil {
		return err
	}
	defer bus.Close()
	w, err := bus.Watch(ctx, set)
	if err != nil {
		return err
	}
	defer w.Close()
	present := 0
	for n := 0; count == 0 || n < count; {
		ch, err := w.Next(ctx)
		if err != nil {
			return err
		}
		switch ch.Kind {
		case connector.ChangePresent:
			present++
			n++
		case connector.ChangeAdded, connector.ChangeRemoved:
			n++
		}
		if err := printChange(app, ch, present); err != nil {
			return err
		}
		if ch.Kind == connector.ChangeMarker {
			present = 0
		}
	}
	return nil
}

func printChange(app *cli.App, ch connector.Change, present int) error {
	now := time.Now()
	if app.JSON {
		l := changeLine{Change: ch.Kind.String(), Time: now}
		if ch.Kind != connector.ChangeMarker && ch.Kind != connector.ChangeResync {
			i := &ch.Info
			l.ID, l.Name, l.Group = &i.ID, i.Name, &i.Group
			l.Unknown = i.Unknown
			l.Owner = &ownerLine{i.Port, i.Owner.UID, i.Owner.GID, i.Owner.PID}
		}
		return app.Out.JSON(l)
	}
	s := app.Out.Style
	at := s.Dim(cli.Clock(now))
	switch ch.Kind {
	case connector.ChangeMarker:
		app.Notice("%s", s.Dim(fmt.Sprintf("%s registered; now watching", plural(present, "id"))))
		return nil
	case connector.ChangeResync:
		app.Notice("%s", cli.StyleOf(app.Err).Yellow("the connection was interrupted; the present state again:"))
		return nil
	}
	word := fmt.Sprintf("%-8s", ch.Kind)
	switch ch.Kind {
	case connector.ChangeAdded:
		word = s.Green(word)
	case connector.ChangeRemoved:
		word = s.Red(word)
	case connector.ChangeUnknown:
		word = s.Yellow(word)
	}
	owner := cli.OwnerOf(ch.Info.Owner, "")
	if host := connector.HostOf(ch.Info.Port); host != 0 {
		owner += fmt.Sprintf(" on host %d", host)
	}
	if ch.Info.Unknown && ch.Kind == connector.ChangePresent {
		owner += ", which cannot be reached"
	}
	_, err := fmt.Fprintf(app.Out, "%s  %s  %s  %s  %s\n", at, word, s.Cyan(cli.ID(ch.Info.ID)), ch.Info.Name, s.Dim(owner))
	return err
}

func plural(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
