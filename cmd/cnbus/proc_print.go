package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/procevent"
)

// procPrinter prints process events for people or as JSON. It knows the command
// lines and beginnings of the processes it has seen.
type procPrinter struct {
	app   *cli.App
	tree  bool
	names *procNames
	boot  time.Time
}

func newProcPrinter(app *cli.App, f *procFlags) *procPrinter {
	return &procPrinter{app: app, tree: f.tree, names: newProcNames("/proc"), boot: time.Now().Add(-monotonic())}
}

// at is when e was.
func (p *procPrinter) at(e *procevent.Event) string { return cli.Clock(p.boot.Add(e.Time)) }

// learn takes note of an event that is not printed.
func (p *procPrinter) learn(e *procevent.Event) { p.names.see(e) }

func (p *procPrinter) print(e *procevent.Event) error {
	at := p.names.see(e)
	defer p.names.done(e)
	if p.app.JSON {
		if e.Info == nil && at != nil && (at.exe != "" || at.args != nil) {
			e.Info = &procevent.Info{Exe: at.exe, Cmdline: at.args}
		}
		return p.app.Out.JSON(e)
	}
	_, err := fmt.Fprintln(p.app.Out, p.line(e, at))
	return err
}

// line is one event:
//
//	12:01:02.345  exec      4711  sh -c true
//	12:01:02.346  exit      4711  sh -c true  status 0 after 1.2ms
func (p *procPrinter) line(e *procevent.Event, at *procSeen) string {
	s := p.app.Out.Style
	if e.Kind == procevent.Lost {
		return strings.Repeat(" ", len("15:04:05.000")) + "  " + s.Red("lost      "+lossText(e))
	}
	return s.Dim(p.at(e)) + p.rest(e, at)
}

// rest is the line behind the time.
func (p *procPrinter) rest(e *procevent.Event, at *procSeen) string {
	s := p.app.Out.Style
	var b strings.Builder
	if p.tree {
		b.WriteString("  " + strings.Repeat("  ", p.names.depth(e.Tgid)))
	} else {
		b.WriteString("  ")
	}
	b.WriteString(p.word(e))
	fmt.Fprintf(&b, "  %7d", e.Tgid)
	if e.IsThread() {
		fmt.Fprintf(&b, " thread %d", e.Pid)
	}
	if name := at.String(); name != "" {
		b.WriteString("  " + s.Cyan(name))
	}
	if d := p.detail(e, at); d != "" {
		b.WriteString("  " + d)
	}
	return b.String()
}

// word is the kind of the event, in a column.
func (p *procPrinter) word(e *procevent.Event) string {
	s := p.app.Out.Style
	w := fmt.Sprintf("%-8s", e.Kind)
	switch {
	case e.Kind == procevent.Exec:
		return s.Green(w)
	case e.Kind == procevent.Exit && e.ExitCode != 0, e.Kind == procevent.Coredump:
		return s.Red(w)
	}
	return w
}

func (p *procPrinter) detail(e *procevent.Event, at *procSeen) string {
	switch e.Kind {
	case procevent.Fork:
		return fmt.Sprintf("by %d", e.ParentTgid)
	case procevent.Exit:
		d := fmt.Sprintf("status %d", e.Status())
		if sig := e.Signal(); sig != 0 {
			d = "killed by " + signalName(sig)
		}
		if at != nil && at.start != 0 {
			d += " after " + cli.Duration(e.Time-at.start)
		}
		return d
	case procevent.UID:
		return fmt.Sprintf("user %s, effective %s", cli.User(e.RealID), cli.User(e.EffectiveID))
	case procevent.GID:
		return fmt.Sprintf("group %d, effective %d", e.RealID, e.EffectiveID)
	case procevent.Ptrace:
		if e.TracerTgid == 0 {
			return "no longer traced"
		}
		return fmt.Sprintf("traced by %d", e.TracerTgid)
	case procevent.Comm:
		return fmt.Sprintf("named %q", e.Comm())
	}
	return ""
}

func signalName(sig int) string {
	if name := unix.SignalName(unix.Signal(sig)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", sig)
}

func lossText(e *procevent.Event) string {
	switch {
	case e.Exact && e.Count == 1:
		return "1 event is missing here"
	case e.Exact:
		return fmt.Sprintf("%d events are missing here", e.Count)
	case e.Count > 0:
		return fmt.Sprintf("up to %d events are missing here", e.Count)
	}
	return "events may be missing here, nobody knows how many"
}
