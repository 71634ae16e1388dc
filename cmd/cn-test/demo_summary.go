package main

import (
	"fmt"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// counts is what arrived, and what should.
type counts struct {
	Registered int    `json:"registered"`
	Messages   int    `json:"messages"`
	Callbacks  int    `json:"callbacks"`
	Removed    int    `json:"removed"`
	Lost       uint64 `json:"lost"`
	Other      int    `json:"other"` // messages of somebody else
}

// demoSummary ends the output of --json.
type demoSummary struct {
	Event string `json:"event"` // summary
	OK    bool   `json:"ok"`
	Got   counts `json:"got"`
	Want  counts `json:"want"`
}

// summary says whether everything expected arrived.
func (d *demoRun) summary() error {
	d.got.Callbacks = int(d.called.Load())
	want := counts{Messages: d.f.count, Callbacks: 2}
	if d.registry {
		want.Registered, want.Removed = 2, 2
	}
	compare := d.got
	compare.Other = 0
	s := demoSummary{Event: "summary", OK: compare == want, Got: d.got, Want: want}
	if d.app.JSON {
		if err := d.app.Out.JSON(s); err != nil {
			return err
		}
	} else {
		d.printSummary(&s)
	}
	if !s.OK {
		return cli.ErrSilent
	}
	return nil
}

func (d *demoRun) printSummary(s *demoSummary) {
	o := d.app.Out
	o.Printf("\n")
	row := func(what string, got, want int) {
		line := fmt.Sprintf("%-21s %d of %d", what, got, want)
		if got != want {
			line = o.Style.Red(line)
		}
		o.Printf("%s\n", line)
	}
	if d.registry {
		row("registrations told", s.Got.Registered, s.Want.Registered)
	}
	row("messages received", s.Got.Messages, s.Want.Messages)
	row("callbacks run", s.Got.Callbacks, s.Want.Callbacks)
	if d.registry {
		row("removals told", s.Got.Removed, s.Want.Removed)
	}
	if s.Got.Lost > 0 {
		o.Printf("%s\n", o.Style.Red(fmt.Sprintf("%-21s %d", "lost", s.Got.Lost)))
	}
	if s.OK {
		o.Printf("%s\n", o.Style.Green("all that was expected arrived"))
	} else {
		o.Printf("%s\n", o.Style.Red("something is missing"))
	}
}
