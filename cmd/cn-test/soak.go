package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/cli"
)

// loadFlags say what the load of flood and soak is.
type loadFlags struct {
	duration  time.Duration // soak
	count     int           // flood: messages of each sender
	senders   int
	receivers int
	slow      int
	size      int
	wait      bool
	group     uint32
	peers     []string
}

func (f *loadFlags) register(c *cobra.Command, senders, receivers, slow int) {
	fl := c.Flags()
	fl.IntVar(&f.senders, "senders", senders, "how many `senders`")
	fl.IntVar(&f.receivers, "receivers", receivers, "how many `receivers`, each of which is to get every message")
	fl.IntVar(&f.slow, "slow", slow, "how many of the `receivers` read slowly")
	fl.IntVarP(&f.size, "size", "s", 128, "`bytes` of data in each message")
	fl.BoolVar(&f.wait, "wait", false, "senders wait for full receivers: nothing may be lost")
	fl.Uint32Var(&f.group, "group", 0, "the `group` to send to (default: one of its own)")
	fl.StringArrayVar(&f.peers, "peer", nil, "the `socket` of another host's broker of the same site, or of several")
}

func (f *loadFlags) check() error {
	switch {
	case f.senders < 1 || f.receivers < 1 || f.senders > 1000 || f.receivers > 1000:
		return cli.Usagef("--senders and --receivers must be from 1 to 1000")
	case f.slow < 0 || f.slow > f.receivers:
		return cli.Usagef("--slow must be from 0 to --receivers (%d)", f.receivers)
	case f.size < markLen || f.size > 16364:
		return cli.Usagef("--size must be from %d to 16364", markLen)
	}
	return nil
}

const accountText = `

At the end every message is accounted for: for each receiver, what was sent is
what was delivered plus what was reported lost. Exit code 1 says that the
account does not balance, or that messages came out of order or twice.

"sent" counts deliveries that were due: messages times receivers.

On a site (--bus site: has two hosts within this process; --peer adds a broker
that has joined the same site) the senders are on its hosts by turns, and so are
the receivers. Besides, each host sends to a port of the next one and calls an
agent there, with an account of each: what was sent is what was delivered plus
what was told to the sender as failed. What the network loses at the end of a
group's messages is told up to 9 s late, and waited for.`

func newFlood(e *env) *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "flood",
		Short: "Send as fast as possible, and account for every message",
		Long:  `Send a number of messages to a group as fast as possible.` + accountText,
		Example: `  # who is too slow loses, and is told
  cn-test flood

  # nothing lost: at the pace of the slowest
  cn-test flood --wait --receivers 4 -n 50000`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.count < 1 {
				return cli.Usagef("--count must be at least 1")
			}
			return runLoad(c.Context(), e, f)
		},
	}
	c.Flags().IntVarP(&f.count, "count", "n", 200000, "how many `messages` each sender sends")
	f.register(c, 1, 2, 0)
	return c
}

func newSoak(e *env) *cobra.Command {
	var f loadFlags
	c := &cobra.Command{
		Use:   "soak",
		Short: "Send for a time, and account for every message",
		Long:  `Send messages to a group for a time, with some receivers that are too slow.` + accountText,
		Example: `  cn-test soak --duration 2s

  # for a script
  cn-test soak --duration 2s --senders 2 --receivers 3 --slow 2 --json

  # between two hosts
  cn-test soak --duration 2s --bus site:`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.duration <= 0 {
				return cli.Usagef("--duration must be positive")
			}
			return runLoad(c.Context(), e, f)
		},
	}
	c.Flags().DurationVar(&f.duration, "duration", 10*time.Second, "for how `long`")
	f.register(c, 2, 4, 1)
	return c
}

func runLoad(ctx context.Context, e *env, f loadFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, socket := range f.peers {
		c.Peer(socket, e.app.Log(slog.LevelWarn))
	}
	l := &load{f: f}
	if err := l.open(ctx, c); err != nil {
		l.close()
		return err
	}
	e.app.Notice("%d senders, %d receivers (%d slow), %d bytes on %s", f.senders, f.receivers, f.slow, f.size, c.Where)
	stop := l.progress(e)
	err = l.run(ctx)
	stop()
	l.close()
	if err != nil {
		return err
	}
	if err := l.report(e); err != nil {
		return err
	}
	return ctx.Err() // an account that balances does not hide the interrupt
}
