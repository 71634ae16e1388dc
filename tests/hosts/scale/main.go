// Scale measures what a host costs the others of a site: brokers in one process, joined through one NATS server in it.
//
//	go run ./tests/hosts/scale [-hosts 3,10,30] [-ids 100] [-groups 10] [-idle 30s] [-lease 15s]
//
// It prints a row for each size, and one for a thousand hosts by the slopes of the two largest. docs/hosts.md has the table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "scale: %v\n", err)
		os.Exit(1)
	}
}

// farAway is the size that nobody has at hand.
const farAway = 1000

func run(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("scale", flag.ContinueOnError)
	sizes := fs.String("hosts", "3,10,30", "sizes of the sites")
	var l load
	fs.IntVar(&l.ids, "ids", 100, "ids for the site that each host has")
	fs.IntVar(&l.groups, "groups", 10, "groups that each host listens to, of as many as there are hosts")
	fs.DurationVar(&l.idle, "idle", 30*time.Second, "how long the traffic of a site at rest is counted")
	fs.DurationVar(&l.lease, "lease", 15*time.Second, "lease of the hosts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var rows []cost
	for _, word := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 2 {
			return fmt.Errorf("-hosts %s: sizes from 2 up, with commas between them", *sizes)
		}
		c, err := measure(ctx, n, l)
		if err != nil {
			return fmt.Errorf("%d hosts: %w", n, err)
		}
		rows = append(rows, c)
	}
	if n := len(rows); n >= 2 {
		rows = append(rows, extrapolate(rows[n-2], rows[n-1], farAway))
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "hosts\tto register all\tbytes to tell all, a host\tsubscriptions\tkeys\tstore KB\trenewals/s\tidle B/s out, a host\tidle B/s in, a host\tKB a host\t")
	for _, c := range rows {
		mark := ""
		if c.guess {
			mark = " (by slope)"
		}
		fmt.Fprintf(tw, "%d%s\t%.2f s\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.0f\t\n", c.hosts, mark, c.register.Seconds(), c.told, c.subs, c.keys, c.store/1024, c.renewals, c.out, c.in, c.memory/1024)
	}
	return tw.Flush()
}

// extrapolate goes on from a to b, by what each further host costs each.
func extrapolate(a, b cost, n int) cost {
	line := func(x, y float64) float64 {
		return y + (y-x)/float64(b.hosts-a.hosts)*float64(n-b.hosts)
	}
	c := cost{hosts: n, guess: true}
	c.told, c.subs, c.out, c.in, c.memory = line(a.told, b.told), line(a.subs, b.subs), line(a.out, b.out), line(a.in, b.in), line(a.memory, b.memory)
	c.keys, c.store, c.renewals = line(a.keys, b.keys), line(a.store, b.store), line(a.renewals, b.renewals)
	// Each host tells each other: the time of one server's site grows with the square.
	c.register = time.Duration(float64(b.register) * float64(n) / float64(b.hosts) * float64(n-1) / float64(b.hosts-1))
	return c
}
