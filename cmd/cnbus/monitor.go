package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/client"
)

type monitorFlags struct {
	pcap  string
	count int
	full  bool
}

func newMonitor(app *cli.App) *cobra.Command {
	var f monitorFlags
	c := &cobra.Command{
		Use:   "monitor [IDS]",
		Short: "Show everything that passes",
		Long: `Show every message that passes through the broker, decoded: when, how, with which
id, from whom to whom, what became of it, and its data. The policy must allow
it. IDS are ids, names or ranges; default: all.

With --pcap the messages go to a file in pcapng with the link type NETLINK,
which Wireshark and tshark open; "-" is stdout.`,
		Example: `  # everything
  cnbus monitor

  # process events, for a script
  cnbus monitor --json proc

  # a hundred messages for Wireshark
  cnbus monitor --pcap bus.pcapng --count 100`,
		ValidArgsFunction: completeIDs(app, 0),
		RunE:              func(c *cobra.Command, args []string) error { return monitor(c.Context(), app, f, args) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.pcap, "pcap", "w", "", "write to this `file` in pcapng; - is stdout")
	fl.IntVarP(&f.count, "count", "n", 0, "end after `n` messages")
	fl.BoolVar(&f.full, "full", false, "print all data, however long")
	_ = c.MarkFlagFilename("pcap", "pcapng")
	return c
}

// sink takes what passes.
type sink interface {
	message(ev *client.MonEvent) error
	lost(n uint64, unknown bool) error
	close() error
}

func monitor(ctx context.Context, app *cli.App, f monitorFlags, args []string) error {
	set, err := cli.ParseSet(args)
	if err != nil {
		return err
	}
	if f.pcap != "" && app.JSON {
		return cli.Usagef("--pcap and --json exclude each other")
	}
	if f.pcap == "-" && app.Out.TTY {
		return cli.Usagef("--pcap -: stdout is a terminal; name a file, or pipe it into wireshark -k -i -")
	}
	bus, err := app.Dial(ctx, "cnbus monitor")
	if err != nil {
		return err
	}
	defer bus.Close()
	m, err := bus.Monitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := f.open(app)
	if err != nil {
		return err
	}
	app.Notice("watching what passes")
	n, err := f.run(ctx, m, set, s)
	err = errors.Join(err, s.close())
	if f.pcap != "" {
		app.Notice("%s", plural(n, "message")+" written")
	}
	return err
}

func (f *monitorFlags) open(app *cli.App) (sink, error) {
	switch f.pcap {
	case "":
		return &textSink{app: app, full: f.full}, nil
	case "-":
		return newPcapSink(nopCloser{app.Out})
	}
	file, err := os.Create(f.pcap)
	if err != nil {
		return nil, err
	}
	return newPcapSink(file)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// run copies until ctx ends or --count is reached.
func (f *monitorFlags) run(ctx context.Context, m *client.Monitor, set *cbid.Set, s sink) (n int, err error) {
	for f.count == 0 || n < f.count {
		ev, err := m.Next(ctx)
		if err != nil {
			return n, err
		}
		if ev.Lost > 0 || ev.Unknown {
			if err := s.lost(ev.Lost, ev.Unknown); err != nil {
				return n, err
			}
			continue
		}
		if set != nil && !set.Contains(ev.Msg.ID) {
			continue
		}
		hideKey(&ev)
		if err := s.message(&ev); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// textSink prints lines or JSON.
type textSink struct {
	app  *cli.App
	full bool
}

func (t *textSink) close() error { return nil }

func (t *textSink) lost(n uint64, unknown bool) error {
	if t.app.JSON {
		l := cli.MessageLine{Event: "lost", Time: time.Now(), Unknown: unknown}
		if !unknown {
			l.Count = &n
		}
		return t.app.Out.JSON(l)
	}
	text := fmt.Sprintf("%d messages passed unseen here: this monitor is too slow", n)
	if unknown {
		text = "messages passed unseen here"
	}
	_, err := fmt.Fprintf(t.app.Out, "%*s  %s\n", len("15:04:05.000"), "", t.app.Out.Style.Red(text))
	return err
}

func (t *textSink) message(ev *client.MonEvent) error {
	if t.app.JSON {
		return t.app.Out.JSON(newMonLine(ev))
	}
	limit := 120
	if t.full {
		limit = 0
	}
	_, err := fmt.Fprintln(t.app.Out, monText(ev, t.app.Out.Style, limit))
	return err
}
