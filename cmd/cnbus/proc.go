package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/procevent"
)

type procFlags struct {
	events  []string
	users   []string
	cgroups []string
	pids    []uint
	tree    bool
	threads bool
	direct  bool
	all     bool
	count   int
}

func newProc(app *cli.App) *cobra.Command {
	var f procFlags
	c := &cobra.Command{
		Use:   "proc",
		Short: "Print the kernel's process events",
		Long: `Print every fork, exec, exit and so on of this machine as the kernel tells them,
with what was lost in its place. The broker's subscription is shared by
everybody; filters work in the broker. --direct subscribes to the kernel
without a broker, which recent kernels allow to every user.

--all-hosts prints those of every host of the site ('cnbus serve --join') that
offers them to you, with the host before each: hosts that come and go, and what
is missing of each, are told in their place. Times are by this host's clock.

Events: fork, exec, exit, nonzero-exit, uid, gid, sid, ptrace, comm, coredump.`,
		Example: `  # every program that starts
  cnbus proc --event exec

  # what a shell and its children do, as a tree
  cnbus proc --tree --pid-tree $$

  # every program that starts on any host of the site
  cnbus proc --all-hosts --event exec

  # failures of one user's programs, for a script
  cnbus proc --json --event nonzero-exit --uid nobody`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return proc(c.Context(), app, f) },
	}
	fl := c.Flags()
	fl.StringSliceVarP(&f.events, "event", "e", nil, "only these `events`, with commas between them")
	fl.StringSliceVar(&f.users, "uid", nil, "only processes of these `users` (names or numbers)")
	fl.StringSliceVar(&f.cgroups, "cgroup", nil, "only processes in this cgroup or below: a `path` as in /proc/PID/cgroup")
	fl.UintSliceVar(&f.pids, "pid-tree", nil, "only these `processes` and their descendants")
	fl.BoolVar(&f.tree, "tree", false, "indent by descent, and tell how long each ran")
	fl.BoolVar(&f.threads, "threads", false, "the events of threads too")
	fl.BoolVar(&f.direct, "direct", false, "subscribe to the kernel, not to the broker")
	fl.BoolVar(&f.all, "all-hosts", false, "those of all hosts of the site")
	fl.IntVarP(&f.count, "count", "n", 0, "end after `n` events")
	_ = c.RegisterFlagCompletionFunc("event", cobra.FixedCompletions(strings.Split((procevent.All|procevent.Mask(procevent.NonzeroExit)).String(), ","), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("uid", cobra.NoFileCompletions)
	_ = c.RegisterFlagCompletionFunc("pid-tree", cobra.NoFileCompletions)
	return c
}

// filter is what the flags ask for.
func (f *procFlags) filter() (procevent.Filter, error) {
	var filter procevent.Filter
	for _, name := range f.events {
		k, err := procevent.ParseKind(name)
		if err != nil {
			return filter, cli.Usagef("--event: %v", err)
		}
		filter.Kinds |= procevent.Mask(k)
	}
	for _, name := range f.users {
		uid, err := lookupUID(name)
		if err != nil {
			return filter, cli.Usagef("--uid: %v", err)
		}
		filter.UIDs = append(filter.UIDs, uid)
	}
	filter.Cgroups = f.cgroups
	for _, p := range f.pids {
		if p == 0 || p > 1<<31-1 {
			return filter, cli.Usagef("--pid-tree %d: no process id", p)
		}
		filter.Trees = append(filter.Trees, uint32(p))
	}
	if err := filter.Check(); err != nil {
		return filter, &cli.UsageError{Err: err}
	}
	return filter, nil
}

func lookupUID(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), err
}

// eventSource is a subscription, to the broker's agent or to the kernel.
type eventSource interface {
	Recv(ctx context.Context) (procevent.Event, error)
}

func proc(ctx context.Context, app *cli.App, f procFlags) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if f.count < 0 {
		return cli.Usagef("--count must not be negative")
	}
	if f.all {
		return f.allHosts(ctx, app, filter)
	}
	open := subscribe
	if f.direct {
		open = f.dialKernel
	}
	src, done, err := open(ctx, app, filter)
	if err != nil {
		return err
	}
	defer done()
	how := "through the broker"
	if f.direct {
		how = "from the kernel"
	}
	app.Notice("following process events %s", how)
	p := newProcPrinter(app, &f)
	for n := 0; f.count == 0 || n < f.count; {
		e, err := src.Recv(ctx)
		if err != nil {
			return err
		}
		if e.IsThread() && !f.threads && e.Kind != procevent.Lost {
			p.learn(&e)
			continue
		}
		if e.Kind != procevent.Lost {
			n++
		}
		if err := p.print(&e); err != nil {
			return err
		}
	}
	return nil
}

// subscribe asks the broker's agent.
func subscribe(ctx context.Context, app *cli.App, filter procevent.Filter) (eventSource, func(), error) {
	bus, err := app.DialLive(ctx, "cnbus proc")
	if err != nil {
		return nil, nil, err
	}
	done := func() { bus.Close() }
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		done()
		return nil, nil, err
	}
	s, err := procevent.Subscribe(ctx, ep, filter)
	switch {
	case errors.Is(err, connector.ErrNoID):
		done()
		return nil, nil, fmt.Errorf("this broker has no process events ('cnbus doctor' may tell why, --direct may do without): %w", err)
	case err != nil:
		done()
		return nil, nil, err
	}
	return s, done, nil
}

// dialKernel subscribes without a broker. Of the filters only the kinds of
// events are the kernel's business.
func (f *procFlags) dialKernel(ctx context.Context, app *cli.App, filter procevent.Filter) (eventSource, func(), error) {
	if len(filter.UIDs) > 0 || len(filter.Cgroups) > 0 || len(filter.Trees) > 0 {
		return nil, nil, cli.Usagef("--uid, --cgroup and --pid-tree are the broker's: they do not go with --direct")
	}
	app.Log(slog.LevelWarn)
	c, err := procevent.Dial(ctx, &procevent.Config{Kinds: filter.Kinds})
	if err != nil {
		return nil, nil, err
	}
	return c, func() { c.Close() }, nil
}
