package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

type sockFlags struct {
	streams   int
	bytes     int
	datagrams int
	size      int
	timeout   time.Duration
}

// sockCount is the account of one kind of socket.
type sockCount struct {
	Kind    string        `json:"kind"`
	Sockets int           `json:"sockets"`
	Sent    uint64        `json:"sent"`    // bytes, of datagrams how many
	Echoed  uint64        `json:"echoed"`  // that came back
	Wrong   uint64        `json:"wrong"`   // came back as something else
	Missing uint64        `json:"missing"` // did not come back
	Bytes   uint64        `json:"bytes"`   // there and back
	TimeNS  time.Duration `json:"time_ns"`
}

func (c *sockCount) ok() bool { return c.Wrong == 0 && c.Missing == 0 && c.Echoed == c.Sent }

// sockSummary is what `sock --json` prints.
type sockSummary struct {
	Event string      `json:"event"` // summary
	OK    bool        `json:"ok"`
	Kinds []sockCount `json:"kinds"`
}

func newSock(e *env) *cobra.Command {
	var f sockFlags
	c := &cobra.Command{
		Use:   "sock",
		Short: "Send through the agent of sockets and back, and verify every byte",
		Long: `Play a server and a client of TCP and of UDP, both with sockets of the agent of
sockets: all they send goes over the bus to the agent, through the kernel back
to the agent, over the bus to the server, and the same way back. Every byte is
verified.

Where no broker is found, or with --bus loopback:, the agent runs within this
process.`,
		Example: `  cn-test sock

  # a little, within this process
  cn-test sock --streams 1 --bytes 100000 --datagrams 100 --bus loopback:`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return sock(c.Context(), e, f) },
	}
	fl := c.Flags()
	fl.IntVar(&f.streams, "streams", 4, "how many `connections` of TCP, at the same time; 0: none")
	fl.IntVar(&f.bytes, "bytes", 16<<20, "how many `bytes` on each")
	fl.IntVar(&f.datagrams, "datagrams", 20000, "how many `datagrams`; 0: none")
	fl.IntVarP(&f.size, "size", "s", 1024, "`bytes` in each datagram")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long an echo is waited for")
	return c
}

func (f *sockFlags) check() error {
	switch {
	case f.streams < 0 || f.streams > 256 || f.bytes < 1 || f.datagrams < 0:
		return cli.Usagef("--streams must be from 0 to 256, --bytes at least 1, --datagrams at least 0")
	case f.size < dgramMark || f.size > 60000:
		return cli.Usagef("--size must be from %d to 60000", dgramMark)
	case f.timeout <= 0:
		return cli.Usagef("--timeout must be positive")
	}
	return nil
}

// sockRun is one run.
type sockRun struct {
	*sockFlags
	server, client *tsagent.Client
}

func sock(ctx context.Context, e *env, f sockFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, a, err := e.openAgents(ctx, agents.Config{NoRx: true})
	if err != nil {
		return err
	}
	defer c.Close()
	defer a.Stop()
	r := sockRun{sockFlags: &f}
	for _, side := range []struct {
		name string
		to   **tsagent.Client
	}{{"cn-test sock server", &r.server}, {"cn-test sock client", &r.client}} {
		client, end, err := sockClient(ctx, c, side.name)
		if err != nil {
			return explainMissing(err, "tsocket")
		}
		defer end()
		*side.to = client
	}
	e.app.Notice("%d connections of %s, %d datagrams of %d bytes on %s", f.streams, cli.Bytes(f.bytes), f.datagrams, f.size, c.Where)
	sum := sockSummary{Event: "summary", OK: true}
	for _, part := range []struct {
		on  int
		run func(context.Context) (sockCount, error)
	}{{f.streams, r.streamEcho}, {f.datagrams, r.dgramEcho}} {
		if part.on == 0 {
			continue
		}
		count, perr := part.run(ctx)
		sum.Kinds = append(sum.Kinds, count)
		sum.OK = sum.OK && count.ok() && perr == nil
		if err = explainGone(perr, "tsocket"); err != nil {
			break
		}
	}
	if perr := printSock(e, &sum); perr != nil {
		return perr
	}
	if err == nil && !sum.OK {
		return cli.ErrSilent
	}
	return err
}

// sockClient opens sockets as a process of its own would.
func sockClient(ctx context.Context, c *busflag.Carrier, name string) (*tsagent.Client, func(), error) {
	bus, err := c.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	client, err := tsagent.NewClient(ctx, bus, nil)
	if err != nil {
		bus.Close()
		return nil, nil, err
	}
	return client, func() { client.Close(); bus.Close() }, nil
}

func printSock(e *env, s *sockSummary) error {
	if e.app.JSON {
		return e.app.Out.JSON(s)
	}
	o := e.app.Out
	t := cli.NewTable("KIND", ">SOCKETS", ">SENT", ">CAME BACK", ">WRONG", ">MISSING", ">RATE")
	for i := range s.Kinds {
		k := &s.Kinds[i]
		t.Row(k.Kind, k.Sockets, cli.Count(k.Sent), cli.Count(k.Echoed), cli.Count(k.Wrong), cli.Count(k.Missing), rate(k.Bytes, k.TimeNS))
	}
	if err := t.Print(o, o.Style); err != nil {
		return err
	}
	if s.OK {
		o.Printf("\n%s\n", o.Style.Green("every byte came back"))
	} else {
		o.Printf("\n%s\n", o.Style.Red("something did not come back as it was sent"))
	}
	return nil
}

var here = tsocket.MustAddr(tsocket.ParseHostPort("ip", "127.0.0.1:0", 0))

// streamEcho echoes on connections.
func (r *sockRun) streamEcho(ctx context.Context) (sockCount, error) {
	count := sockCount{Kind: "tcp", Sockets: r.streams}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lis, err := r.server.ListenTCP(ctx, here, nil)
	if err != nil {
		return count, err
	}
	defer lis.Close()
	var server, client sync.WaitGroup
	server.Go(func() { serveStreams(ctx, lis, &server) })
	begun := time.Now()
	counts, errs := make([]sockCount, r.streams), make([]error, r.streams)
	for i := range r.streams {
		client.Go(func() { counts[i], errs[i] = r.oneStream(ctx, lis.Addr(), uint64(i)) })
	}
	client.Wait()
	count.TimeNS = time.Since(begun)
	cancel()
	server.Wait()
	for i := range counts {
		count.Sent += counts[i].Sent
		count.Echoed += counts[i].Echoed
		count.Wrong += counts[i].Wrong
	}
	count.Bytes = count.Sent + count.Echoed
	count.Missing = uint64(r.streams)*uint64(r.bytes) - count.Echoed - count.Wrong
	return count, errors.Join(errs...)
}

// serveStreams sends back what comes on every connection.
func serveStreams(ctx context.Context, lis *tsagent.Listener, wg *sync.WaitGroup) {
	for {
		s, err := lis.Accept(ctx)
		if err != nil {
			return
		}
		wg.Go(func() {
			defer s.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := s.ReadSome(ctx, buf)
				if err == nil {
					_, err = s.Writev(ctx, buf[:n])
				}
				if err != nil {
					return
				}
			}
		})
	}
}

// oneStream sends and receives at the same time.
func (r *sockRun) oneStream(ctx context.Context, to tsocket.Addr, num uint64) (count sockCount, err error) {
	s, err := r.client.DialTCP(ctx, here, to)
	if err != nil {
		return count, err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const piece = 32 << 10
	sent := make(chan error, 1)
	go func() {
		buf := make([]byte, piece)
		for n := 0; n < r.bytes; n += piece {
			b := buf[:min(piece, r.bytes-n)]
			mark(b, num<<32+uint64(n/piece))
			if _, err := s.Writev(ctx, b); err != nil {
				sent <- fmt.Errorf("connection %d: %w", num+1, err)
				return
			}
			count.Sent += uint64(len(b))
		}
		sent <- nil
	}()
	got, want := make([]byte, piece), make([]byte, piece)
	for n := 0; n < r.bytes; n += piece {
		g, w := got[:min(piece, r.bytes-n)], want[:min(piece, r.bytes-n)]
		wait, done := context.WithTimeout(ctx, r.timeout)
		_, err = s.Readv(wait, g)
		done()
		if err != nil {
			err = fmt.Errorf("connection %d, after %d bytes: %w", num+1, n, err)
			break
		}
		mark(w, num<<32+uint64(n/piece))
		for i := range g {
			if g[i] == w[i] {
				count.Echoed++
			} else {
				count.Wrong++
			}
		}
	}
	if err != nil {
		cancel() // who sends waits for room
	}
	if serr := <-sent; err == nil {
		err = serr
	}
	return count, err
}
