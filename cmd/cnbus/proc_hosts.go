package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
	"github.com/cnbus/cnbus/connector/procevent"
)

// allHosts prints the events of every host of the site.
func (f *procFlags) allHosts(ctx context.Context, app *cli.App, filter procevent.Filter) error {
	switch {
	case f.direct:
		return cli.Usagef("--direct is of this host's kernel: it does not go with --all-hosts")
	case len(f.pids) > 0:
		return cli.Usagef("--pid-tree: a process id is of one host: it does not go with --all-hosts")
	}
	bus, err := app.DialLive(ctx, "cnbus proc")
	if err != nil {
		return err
	}
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	rows, err := natsbridge.QueryHosts(ctx, ep)
	ep.Close()
	if errors.Is(err, connector.ErrNoID) {
		return notJoined(err)
	}
	if err != nil {
		return err
	}
	src, err := procevent.SubscribeSite(ctx, bus, filter)
	if err != nil {
		return err
	}
	defer src.Close()
	p := newSitePrinter(app, f, rows)
	app.Notice("following process events of %s", plural(len(rows), "host"))
	for n := 0; f.count == 0 || n < f.count; {
		e, err := src.Recv(ctx)
		if err != nil {
			return err
		}
		counts, err := p.print(&e)
		if err != nil {
			return err
		}
		if counts {
			n++
		}
	}
	return nil
}

// sitePrinter prints the events of many hosts, each with its name before it.
type sitePrinter struct {
	app   *cli.App
	flags *procFlags
	hosts map[uint32]*procPrinter
	width int // of the names
}

func newSitePrinter(app *cli.App, f *procFlags, rows []natsbridge.HostRow) *sitePrinter {
	p := &sitePrinter{app: app, flags: f, hosts: make(map[uint32]*procPrinter)}
	for _, r := range rows {
		p.width = max(p.width, min(len(r.Name), 20))
	}
	return p
}

func (p *sitePrinter) host(n uint32) *procPrinter {
	h := p.hosts[n]
	if h == nil {
		h = &procPrinter{app: p.app, tree: p.flags.tree, names: newProcNames("")}
		p.hosts[n] = h
	}
	return h
}

// print prints e and reports whether it is one of those that --count counts.
func (p *sitePrinter) print(e *procevent.SiteEvent) (counts bool, err error) {
	h := p.host(e.Host)
	if e.Change != 0 {
		if e.Change == procevent.HostGone {
			delete(p.hosts, e.Host)
		}
		return false, p.write(e, p.change(e))
	}
	if e.Event.Kind == procevent.Lost {
		h.names.see(&e.Event)
		return false, p.write(e, "  "+p.app.Out.Style.Red("lost      "+lossText(&e.Event)))
	}
	at := h.names.see(&e.Event)
	defer h.names.done(&e.Event)
	if e.Event.IsThread() && !p.flags.threads {
		return false, nil
	}
	if p.app.JSON && e.Event.Info == nil && at.args != nil {
		e.Event.Info = &procevent.Info{Exe: at.exe, Cmdline: at.args}
	}
	return true, p.write(e, h.rest(&e.Event, at))
}

// write writes one line:
//
//	12:01:02.345  one       exec      4711  sh -c true
//	12:01:02.346  two       is unreachable
func (p *sitePrinter) write(e *procevent.SiteEvent, rest string) error {
	if p.app.JSON {
		return p.app.Out.JSON(e)
	}
	s := p.app.Out.Style
	_, err := fmt.Fprintf(p.app.Out, "%s  %s%s\n", s.Dim(cli.Clock(e.At)), s.Bold(fmt.Sprintf("%-*s", p.width, e.Name)), rest)
	return err
}

// change says what became of a host.
func (p *sitePrinter) change(e *procevent.SiteEvent) string {
	s := p.app.Out.Style
	switch e.Change {
	case procevent.HostHere:
		return "  " + s.Green("follows from here on")
	case procevent.HostBack:
		return "  " + s.Green("is back")
	case procevent.HostUnknown:
		return "  " + s.Yellow("is unreachable: what happens there comes late, or is told as missing")
	case procevent.HostGone:
		return "  " + s.Yellow("is gone")
	}
	return "  " + s.Red(strings.TrimPrefix(e.Err.Error(), "process events of host "+e.Name+": "))
}
