package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/connector"
)

type pingFlags struct {
	count    int
	size     int
	interval time.Duration
	timeout  time.Duration
}

// pingSummary is what `ping --json` prints. Times are in nanoseconds.
type pingSummary struct {
	Event    string        `json:"event"` // summary
	ID       cbid.ID       `json:"id"`
	Sent     int           `json:"sent"`
	Answered int           `json:"answered"`
	Bytes    int           `json:"bytes"`
	Min      time.Duration `json:"min_ns"`
	P50      time.Duration `json:"p50_ns"`
	P90      time.Duration `json:"p90_ns"`
	P99      time.Duration `json:"p99_ns"`
	Max      time.Duration `json:"max_ns"`
}

func newPing(e *env) *cobra.Command {
	var f pingFlags
	c := &cobra.Command{
		Use:   "ping [ID]",
		Short: "Measure round trips",
		Long: `Call an agent again and again and show how long the replies took. A reply counts
when it obeys the genealogy: the same seq, ack + 1. Without ID an agent of
cn-test's own answers, from another connection of this process.`,
		Example: `  cn-test ping

  # an agent of yours, without haste
  cn-test ping 0x123:0x456 -n 10 --interval 10ms`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return ping(c.Context(), e, f, args) },
	}
	fl := c.Flags()
	fl.IntVarP(&f.count, "count", "n", 10000, "how many `calls`")
	fl.IntVarP(&f.size, "size", "s", 128, "`bytes` of data in each")
	fl.DurationVar(&f.interval, "interval", 0, "the time between two of them")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long a reply is waited for")
	return c
}

func ping(ctx context.Context, e *env, f pingFlags, args []string) error {
	if f.count < 1 || f.size < 0 || f.size > connector.MaxData {
		return cli.Usagef("--count must be at least 1, --size at most %d", connector.MaxData)
	}
	c, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	bus, err := c.Open(ctx, "cn-test ping")
	if err != nil {
		return err
	}
	defer bus.Close()
	id := cbid.CnTest
	if len(args) > 0 {
		if id, err = cli.ParseID(args[0]); err != nil {
			return err
		}
	} else {
		agent, err := c.Open(ctx, "cn-test echo")
		if err != nil {
			return err
		}
		defer agent.Close()
		id.Val = bus2val(bus)
		if id.Idx > c.MaxGroup {
			id.Idx = 14 // as the kernel's samples
		}
		if err := agent.AddCallback(ctx, id, "cn-test echo", connector.HandlerFunc(echo)); err != nil {
			return err
		}
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	e.app.Notice("%d calls of %v with %d bytes on %s", f.count, id, f.size, c.Where)
	h, sent, err := f.run(ctx, ep, id)
	if perr := f.print(e, h, id, sent); perr != nil {
		return perr
	}
	return err
}

// bus2val is the val of the echo agent: several pings may run at a time.
func bus2val(b connector.Bus) uint32 {
	if p, ok := b.(interface{ Port() uint32 }); ok {
		return 0x100 + p.Port()
	}
	return 0x100
}

func echo(ctx context.Context, d *connector.Delivery) {
	if d.Call {
		_ = d.Reply(ctx, d.Msg.Data) // the caller counts what is missing
	}
}

// run does the calls. It ends at the first without a reply.
func (f *pingFlags) run(ctx context.Context, ep connector.Endpoint, id cbid.ID) (h *histogram, sent int, err error) {
	h = newHistogram()
	m := connector.Message{ID: id, Data: make([]byte, f.size)}
	for n := range f.count {
		if n > 0 && f.interval > 0 {
			if err := cli.Wait(ctx, f.interval); err != nil {
				return h, sent, err
			}
		}
		one, cancel := context.WithTimeoutCause(ctx, f.timeout, connector.ErrTimeout)
		start := time.Now()
		_, err := ep.Call(one, m, connector.Dest{})
		d := time.Since(start)
		cancel()
		sent++
		if err != nil {
			return h, sent, fmt.Errorf("call %d: %w", n+1, err)
		}
		h.add(d)
	}
	return h, sent, nil
}

func (f *pingFlags) print(e *env, h *histogram, id cbid.ID, sent int) error {
	s := pingSummary{
		Event: "summary", ID: id, Sent: sent, Answered: h.n, Bytes: f.size,
		Min: h.min, P50: h.quantile(0.5), P90: h.quantile(0.9), P99: h.quantile(0.99), Max: h.max,
	}
	if e.app.JSON {
		return e.app.Out.JSON(s)
	}
	h.print(e.app.Out, e.app.Out.Style)
	e.app.Out.Printf("%d calls, %d answered   p50 %s   p90 %s   p99 %s   max %s\n",
		s.Sent, s.Answered, cli.Duration(s.P50), cli.Duration(s.P90), cli.Duration(s.P99), cli.Duration(s.Max))
	return nil
}
