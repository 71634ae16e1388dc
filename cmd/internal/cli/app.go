package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// EnvSocket names the broker's socket where the flag does not.
const EnvSocket = "CNBUS_SOCKET"

// App is one run of a program: its global flags and where it reads and prints.
type App struct {
	Socket    string // of the broker; "" for the usual places
	JSON      bool
	Quiet     bool
	Verbose   bool
	LogLevel  string
	LogFormat string

	In  io.Reader
	Out *Out
	Err io.Writer

	started bool // a command has begun: errors are no longer about the command line
	cancel  context.CancelCauseFunc
	hangup  atomic.Pointer[chan struct{}]
}

// New returns an App on the standard streams of the process.
func New() *App {
	a := &App{In: os.Stdin, Err: os.Stderr}
	a.Out = newOut(os.Stdout, func() { a.cancel(errPipe) })
	return a
}

// Flags gives root the flags that all commands have.
func (a *App) Flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.Socket, "socket", "", "`path` of the broker's socket, or tls://HOST:PORT (default $"+EnvSocket+", else the usual places)")
	f.BoolVar(&a.JSON, "json", false, "print JSON, one object a line")
	f.StringVar(&a.LogLevel, "log-level", "", "`least` that is logged: debug, info, warn or error")
	f.StringVar(&a.LogFormat, "log-format", "auto", "`how` it is logged: text or json")
	f.BoolVarP(&a.Quiet, "quiet", "q", false, "say nothing but errors")
	f.BoolVarP(&a.Verbose, "verbose", "v", false, "say more")
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkPersistentFlagFilename("socket")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.check() }
}

// check looks at the global flags.
func (a *App) check() error {
	if a.Quiet && a.Verbose {
		return Usagef("--quiet and --verbose exclude each other")
	}
	if _, err := a.level(0); err != nil {
		return err
	}
	switch a.LogFormat {
	case "auto", "text", "json":
		return nil
	}
	return Usagef("--log-format %q: text or json", a.LogFormat)
}

// Main runs the command that args name and returns the exit code.
func (a *App) Main(root *cobra.Command, args []string) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	each(root, func(c *cobra.Command) {
		if run := c.RunE; run != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				a.started = true
				return run(c, args)
			}
		}
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	a.cancel = cancel
	defer a.catch()()

	c, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = &UsageError{err}
	}
	if ferr := a.Out.Close(); err == nil {
		err = ferr
	}
	code, show := exitCode(ctx, err)
	if show {
		fmt.Fprintf(a.Err, "%s: %s\n", root.Name(), explain(err))
	}
	if code == Usage {
		fmt.Fprintf(a.Err, "Try '%s --help'.\n", c.CommandPath())
	}
	return code
}

// each calls f for c and all commands below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, sub := range c.Commands() {
		each(sub, f)
	}
}

// sameSignal is how close two signals are one: timeout(1) and others signal the
// process, and then its group, and a busy machine may let the second come late.
const sameSignal = time.Second

// catch makes the first signal end the context and the second the process.
// A broken pipe becomes an error of the write. The function returned undoes it.
func (a *App) catch() func() {
	ch := make(chan os.Signal, 2)
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var ended time.Time
		for s := range ch {
			sig := s.(syscall.Signal)
			if h := a.hangup.Load(); sig == syscall.SIGHUP && h != nil {
				select {
				case *h <- struct{}{}:
				default: // one is noticed already
				}
				continue
			}
			switch {
			case ended.IsZero():
				ended = time.Now()
				a.cancel(&interrupted{sig})
			case time.Since(ended) > sameSignal:
				os.Exit(128 + int(sig))
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
		<-done
	}
}

// Hangup makes SIGHUP a value in the channel returned, instead of the end.
func (a *App) Hangup() <-chan struct{} {
	ch := make(chan struct{}, 1)
	a.hangup.Store(&ch)
	return ch
}
