package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/broker"
)

// printStat shows s; last is the sample before, nil for none.
func printStat(app *cli.App, s, last *statLine, all, live bool) error {
	o := app.Out
	if live && o.TTY {
		o.Printf("\x1b[H\x1b[2J") // home, clear
	} else if last != nil {
		o.Printf("\n")
	}
	b := &s.Broker
	rates := ""
	if last != nil {
		if d := b.Time.Sub(last.Broker.Time).Seconds(); d > 0 {
			rates = fmt.Sprintf("   %.0f sent/s, %.0f delivered/s", float64(b.Sent-last.Broker.Sent)/d, float64(b.Delivered-last.Broker.Delivered)/d)
		}
	}
	row := func(name, format string, args ...any) {
		o.Printf("%s %s\n", o.Style.Dim(fmt.Sprintf("%-12s", name)), fmt.Sprintf(format, args...))
	}
	row("broker", "pid %d, user %s", b.PID, cli.User(b.UID))
	row("now", "%s, %s, %s, %s", plural(b.Clients, "client"), plural(b.IDs, "id"), plural(b.Groups, "group"), plural(b.Monitors, "monitor"))
	row("connections", "%s accepted, %s refused, %s ended for breaking the protocol", cli.Count(b.Accepted), cli.Count(b.Refused), cli.Count(b.Violations))
	row("messages", "%s sent, %s delivered%s", cli.Count(b.Sent), cli.Count(b.Delivered), rates)
	lost := cli.Count(b.Lost) + " lost at full receivers"
	if b.Lost > 0 {
		lost = o.Style.Red(lost)
	}
	row("losses", "%s, of these %s never told as the receiver went first", lost, cli.Count(b.LostUntold))
	row("pressure", "%s senders told to wait, %s not read for a while, %s requests over a limit", cli.Count(b.Stops), cli.Count(b.Pauses), cli.Count(b.Limited))
	for _, reason := range slices.Sorted(maps.Keys(b.Failed)) {
		row("failed", "%s: %s", cli.Count(b.Failed[reason]), reason)
	}
	for _, key := range slices.Sorted(maps.Keys(b.Denied)) {
		row("denied", "%s: %s of the policy", cli.Count(b.Denied[key]), key)
	}
	agentRows(s, row)
	printUsers(app, b.Users)
	if err := printClients(app, s.Clients, all); err != nil {
		return err
	}
	return printGroups(app, s.Groups, all)
}

// printUsers shows who reached a limit.
func printUsers(app *cli.App, users []broker.UserRow) {
	for _, u := range users {
		for _, what := range slices.Sorted(maps.Keys(u.Exceeded)) {
			app.Out.Printf("%s user %s reached the limit of %s %s times\n",
				app.Out.Style.Yellow("limit       "), cli.User(u.UID), what, cli.Count(u.Exceeded[what]))
		}
	}
}

// trouble says what is wrong with a client, "" for nothing.
func trouble(c *broker.ConnRow) string {
	var t []string
	if c.Full {
		t = append(t, "full")
	}
	if c.Waiting > 0 {
		t = append(t, fmt.Sprintf("%d wait for it", c.Waiting))
	}
	if c.Paused {
		t = append(t, "not read")
	}
	if c.Lost > 0 {
		t = append(t, "lost some")
	}
	return strings.Join(t, ", ")
}

func printClients(app *cli.App, clients []broker.ConnRow, all bool) error {
	t := cli.NewTable(">PORT", "PROGRAM", "USER", ">PID", ">SENT", ">DELIVERED", ">LOST", ">QUEUED", ">AGE", "STATE")
	for i := range clients {
		c := &clients[i]
		state := trouble(c)
		if state == "" && !all {
			continue
		}
		if state == "" {
			state = "ok"
		}
		age := time.Since(c.Since).Round(time.Second)
		t.Row(c.Port, c.Name, cli.User(c.UID), c.PID, cli.Count(c.Sent), cli.Count(c.Delivered), cli.Count(c.Lost), cli.Bytes(c.Queued), age, state)
	}
	if t.Len() == 0 {
		app.Out.Printf("%s no client is slow, none lost anything\n", app.Out.Style.Dim(fmt.Sprintf("%-12s", "clients")))
		return nil
	}
	app.Out.Printf("\n")
	return t.Print(app.Out, app.Out.Style)
}

func printGroups(app *cli.App, groups []broker.GroupRow, all bool) error {
	t := cli.NewTable(">GROUP", ">MEMBERS", ">PUBLISHED", ">DROPPED", ">KEPT", ">BYTES KEPT")
	for _, g := range groups {
		if g.Dropped == 0 && !all {
			continue
		}
		kept, bytes := "-", "-"
		if h := g.History; h != nil {
			kept, bytes = cli.Count(h.Last+1-h.First), cli.Bytes(h.Bytes)
		}
		t.Row(g.Group, g.Members, cli.Count(g.Published), cli.Count(g.Dropped), kept, bytes)
	}
	if t.Len() == 0 {
		return nil
	}
	app.Out.Printf("\n")
	return t.Print(app.Out, app.Out.Style)
}
