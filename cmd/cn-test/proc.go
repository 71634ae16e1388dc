package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector/procevent"
)

type procFlags struct {
	children int
	program  string
	buffer   int
}

// procSummary is what `proc --json` prints.
type procSummary struct {
	Event        string `json:"event"` // summary
	Children     int    `json:"children"`
	Expected     int    `json:"expected"` // a fork, an exec and an exit each
	Arrived      int    `json:"arrived"`
	ReportedLost uint64 `json:"reported_lost"`
	Foreign      uint64 `json:"foreign"` // events of other processes
	Audited      bool   `json:"audited"` // each CPU's counter agrees: nothing can be missing unseen
	OK           bool   `json:"ok"`
}

func newProc(e *env) *cobra.Command {
	var f procFlags
	c := &cobra.Command{
		Use:   "proc",
		Short: "Check the kernel's process events",
		Long: `Subscribe to the process events of the kernel itself, run a number of programs,
and check that the fork, exec and exit of each arrives or is reported lost. No
bus is used. --buffer makes the kernel's buffer small, to see losses.`,
		Example: `  cn-test proc

  cn-test proc -n 50 --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return proc(c.Context(), e, f) },
	}
	fl := c.Flags()
	fl.IntVarP(&f.children, "children", "n", 200, "how many `programs` to run")
	fl.StringVar(&f.program, "program", "true", "the `program` to run")
	fl.IntVar(&f.buffer, "buffer", 0, "`bytes` of the kernel's buffer (default 4 MiB, growing)")
	return c
}

func proc(ctx context.Context, e *env, f procFlags) error {
	if f.children < 1 || f.buffer < 0 {
		return cli.Usagef("--children must be at least 1, --buffer not negative")
	}
	path, err := exec.LookPath(f.program)
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	e.app.Log(slog.LevelWarn)
	cfg := &procevent.Config{ReadBuffer: f.buffer, AckTimeout: ackTime}
	if f.buffer > 0 {
		cfg.MaxReadBuffer = f.buffer
	}
	c, err := procevent.Dial(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%w (see cnbus doctor)", err)
	}
	defer c.Close()
	e.app.Notice("running %s %d times", path, f.children)

	a := newProcAccount()
	started := make(chan error, 1)
	go func() { started <- a.spawn(ctx, path, f.children) }()
	if err := a.receive(ctx, c, started); err != nil {
		return err
	}
	ledger, err := a.audit(ctx, c)
	if err != nil {
		return err
	}
	return a.report(e, f.children, &ledger)
}

// ackTime is how long the kernel's answers are waited for: those to the audit come behind all that is queued, on a machine
// that may be busy.
const ackTime = 5 * time.Second

// settle is how long what is missing is waited for after the last event.
const settle = 2 * time.Second
