package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// Status is the outcome of a check.
type status string

const (
	statusOK   status = "ok"
	statusWarn status = "warn"
	statusFail status = "fail"
	statusSkip status = "skip" // cannot be told here
)

// finding is the outcome of a check, and one line of `doctor --json`.
type finding struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do
}

// report collects findings.
type report struct{ findings []finding }

func (r *report) add(check string, s status, text, advice string) {
	r.findings = append(r.findings, finding{check, s, text, advice})
}

func (r *report) ok(check, format string, args ...any) {
	r.add(check, statusOK, fmt.Sprintf(format, args...), "")
}

func (r *report) warn(check, text, advice string) { r.add(check, statusWarn, text, advice) }
func (r *report) fail(check, text, advice string) { r.add(check, statusFail, text, advice) }
func (r *report) skip(check, text string)         { r.add(check, statusSkip, text, "") }

func (r *report) count(s status) (n int) {
	for _, f := range r.findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

func newDoctor(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find out why something is silent, and what to do",
		Long: `Test the broker, its agents and the kernel's process events for everything that is
known to fail without a word: no kernel support, another user, pid or network
namespace, a count of listeners that leaked or was lowered, an old kernel that
ignores masks, forged events, buffers that are too small, sockets that drop; agents
of sockets and RxRPC that are not there or not for you, UDP without room or batches.

It runs a few harmless programs of its own. Exit code 1 means that a check
failed.`,
		Example: `  cnbus doctor

  # for a script: what is not well
  cnbus doctor --json | grep -v '"status":"ok"'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return doctor(c.Context(), app) },
	}
}

func doctor(ctx context.Context, app *cli.App) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r := &report{}
	checkBroker(ctx, app, r)
	checkUDP(r)
	checkKernel(ctx, r)
	for _, f := range r.findings {
		if err := printFinding(app, f); err != nil {
			return err
		}
	}
	failed, warned := r.count(statusFail), r.count(statusWarn)
	switch {
	case failed > 0:
		app.Notice("%s failed, %s", plural(failed, "check"), plural(warned, "warning"))
		return cli.ErrSilent
	case warned > 0:
		app.Notice("%s", plural(warned, "warning"))
	default:
		app.Notice("all is well")
	}
	return nil
}

func printFinding(app *cli.App, f finding) error {
	if app.JSON {
		return app.Out.JSON(f)
	}
	s := app.Out.Style
	word := fmt.Sprintf("%-4s", f.Status)
	switch f.Status {
	case statusOK:
		word = s.Green(word)
	case statusWarn:
		word = s.Yellow(word)
	case statusFail:
		word = s.Red(word)
	default:
		word = s.Dim(word)
	}
	const indent = 2 + 4 + 2 + 12 + 2
	app.Out.Printf("  %s  %s  %s\n", word, s.Bold(fmt.Sprintf("%-12s", f.Check)), f.Text)
	if f.Advice != "" {
		app.Out.Printf("%s\n", strings.Repeat(" ", indent)+s.Dim("→ ")+f.Advice)
	}
	return nil
}
