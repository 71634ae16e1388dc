package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnbus/cnbus/cmd/internal/agents"
	"github.com/cnbus/cnbus/cmd/internal/busflag"
	"github.com/cnbus/cnbus/cmd/internal/cli"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// rxService is the number of the echo.
const rxService = 1234

type rxFlags struct {
	count   int
	callers int
	size    int
	bulk    int
	timeout time.Duration
}

// rxSummary is what `rx --json` prints. Times are in nanoseconds.
type rxSummary struct {
	Event   string        `json:"event"` // summary
	OK      bool          `json:"ok"`
	Calls   int           `json:"calls"`   // that were wanted
	Echoed  int           `json:"echoed"`  // came back as they were
	Wrong   int           `json:"wrong"`   // came back as something else
	Failed  int           `json:"failed"`  //
	Bytes   uint64        `json:"bytes"`   // there and back, of calls that came back
	Bulk    int           `json:"bulk"`    // bytes of the long call, there
	BulkOK  bool          `json:"bulk_ok"` //
	TimeNS  time.Duration `json:"time_ns"` // of the short calls
	BulkNS  time.Duration `json:"bulk_ns"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
	Address string        `json:"address"` // of the server, on UDP
}

func newRx(e *env) *cobra.Command {
	var f rxFlags
	c := &cobra.Command{
		Use:   "rx",
		Short: "Call through the RxRPC agent and back, and verify every byte",
		Long: `Play a server and a client of RxRPC, both with the sockets of the RxRPC agent: a
request goes over the bus to the agent, by UDP to the agent's port of the
server, over the bus to the server, and its echo back the same way. Every byte is
verified: of many short calls, and of a long one.

Where no broker is found, or with --bus loopback:, the agent runs within this
process.`,
		Example: `  cn-test rx

  # a little, within this process
  cn-test rx -n 100 --callers 1 --bulk 100000 --bus loopback:`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return rx(c.Context(), e, f) },
	}
	fl := c.Flags()
	fl.IntVarP(&f.count, "count", "n", 10000, "how many short `calls`")
	fl.IntVar(&f.callers, "callers", 8, "how many callers at a time")
	fl.IntVarP(&f.size, "size", "s", 1024, "the most `bytes` of a request; they are from nothing to this")
	fl.IntVar(&f.bulk, "bulk", 16<<20, "`bytes` of the long call; 0: none")
	fl.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long a call may take")
	return c
}

func (f *rxFlags) check() error {
	switch {
	case f.count < 0 || f.callers < 1 || f.callers > 4096:
		return cli.Usagef("--count must not be negative, --callers from 1 to 4096")
	case f.size < 0 || f.size > 1<<20 || f.bulk < 0:
		return cli.Usagef("--size must be from 0 to 1048576, --bulk not negative")
	case f.timeout <= 0:
		return cli.Usagef("--timeout must be positive")
	}
	return nil
}

func rx(ctx context.Context, e *env, f rxFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	c, a, err := e.openAgents(ctx, agents.Config{NoSock: true})
	if err != nil {
		return err
	}
	defer c.Close()
	defer a.Stop()
	server, end, err := rxConn(ctx, c, "cn-test rx server")
	if err != nil {
		return explainMissing(err, "RxRPC")
	}
	defer end()
	client, end, err := rxConn(ctx, c, "cn-test rx client")
	if err != nil {
		return explainMissing(err, "RxRPC")
	}
	defer end()
	at, err := server.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		return explainMissing(err, "RxRPC")
	}
	defer at.Close()
	if err := rxrpc.NewServer(at, nil).Handle(rxService, rxrpc.HandlerFunc(rxEcho)); err != nil {
		return explainMissing(err, "RxRPC")
	}
	to, err := client.Dial(at.LocalAddr().String(), &rxrpc.ClientConfig{MaxReply: 1 << 21})
	if err != nil {
		return explainMissing(err, "RxRPC")
	}
	defer to.Close()
	e.app.Notice("%d calls of up to %d bytes by %d callers, one of %s, to %v on %s", f.count, f.size, f.callers, cli.Bytes(f.bulk), at.LocalAddr(), c.Where)
	r := rxRun{rxFlags: &f, to: to, h: newHistogram(), sum: rxSummary{Event: "summary", Calls: f.count, Bulk: f.bulk, Address: at.LocalAddr().String()}}
	err = explainGone(r.run(ctx), "RxRPC")
	return errors.Join(r.print(e, err == nil), err)
}

// rxConn opens RxRPC as a process of its own would.
func rxConn(ctx context.Context, c *busflag.Carrier, name string) (*rxclient.Conn, func(), error) {
	bus, err := c.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	conn, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		bus.Close()
		return nil, nil, err
	}
	return conn, func() { conn.Close(); bus.Close() }, nil
}

// rxEcho replies with the request, which it has to read to its end first.
func rxEcho(_ context.Context, call *rxrpc.ServerCall) error {
	request, err := io.ReadAll(call)
	if err == nil {
		_, err = call.Write(request)
	}
	return err
}

// rxRun is one run.
type rxRun struct {
	*rxFlags
	to *rxrpc.Client

	mu  sync.Mutex // guards h and sum
	h   *histogram
	sum rxSummary
}

// run makes the short calls and then the long one. It ends at the first that fails.
func (r *rxRun) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range min(r.callers, r.count) {
		wg.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(r.count) || ctx.Err() != nil {
					return
				}
				if err := r.call(ctx, uint64(n)); err != nil {
					cancel(fmt.Errorf("call %d: %w", n+1, err))
					return
				}
			}
		})
	}
	wg.Wait()
	r.sum.TimeNS = time.Since(begun)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.bulk == 0 {
		r.sum.BulkOK = true
		return nil
	}
	begun = time.Now()
	err := r.long(ctx)
	r.sum.BulkNS = time.Since(begun)
	return err
}

// call makes a short call.
func (r *rxRun) call(ctx context.Context, n uint64) error {
	request := make([]byte, n*7919%uint64(r.size+1))
	mark(request, n)
	one, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	start := time.Now()
	reply, err := r.to.Call(one, rxService, request)
	d := time.Since(start)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil: // another one has failed
		return ctx.Err()
	case err != nil:
		r.sum.Failed++
		return err
	case !bytes.Equal(reply, request):
		r.sum.Wrong++
		return nil
	}
	r.sum.Echoed++
	r.sum.Bytes += 2 * uint64(len(request))
	r.h.add(d)
	return nil
}

// long makes the long call: the whole request, then the whole reply.
func (r *rxRun) long(ctx context.Context) error {
	one, cancel := context.WithTimeout(ctx, 10*r.timeout)
	defer cancel()
	call, err := r.to.NewCall(one, rxService)
	if err != nil {
		return err
	}
	defer call.Close()
	const piece = 64 << 10
	buf, want := make([]byte, piece), make([]byte, piece)
	for n := 0; n < r.bulk; n += piece {
		b := buf[:min(piece, r.bulk-n)]
		mark(b, uint64(n))
		if _, err := call.Write(b); err != nil {
			return fmt.Errorf("the long call, after %d bytes: %w", n, err)
		}
	}
	if err := call.CloseWrite(); err != nil {
		return err
	}
	for n := 0; n < r.bulk; n += piece {
		g, w := buf[:min(piece, r.bulk-n)], want[:min(piece, r.bulk-n)]
		if _, err := io.ReadFull(call, g); err != nil {
			return fmt.Errorf("the long call, after %d bytes of the reply: %w", n, err)
		}
		if mark(w, uint64(n)); !bytes.Equal(g, w) {
			return nil
		}
	}
	n, err := call.Read(buf)
	r.sum.BulkOK = n == 0 && errors.Is(err, io.EOF)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// print shows the summary; ok says that nothing has failed.
func (r *rxRun) print(e *env, ok bool) error {
	s := &r.sum
	s.OK = ok && s.Echoed == s.Calls && s.Wrong == 0 && s.BulkOK
	s.P50, s.P99, s.Max = r.h.quantile(0.5), r.h.quantile(0.99), r.h.max
	if e.app.JSON {
		if err := e.app.Out.JSON(s); err != nil {
			return err
		}
	} else {
		o := e.app.Out
		r.h.print(o, o.Style)
		o.Printf("%s calls, %s came back, %d wrong, %d failed   p50 %s   p99 %s   max %s   %s calls/s\n", cli.Count(s.Calls), cli.Count(s.Echoed), s.Wrong, s.Failed,
			cli.Duration(s.P50), cli.Duration(s.P99), cli.Duration(s.Max), cli.Count(int(float64(s.Echoed)/max(s.TimeNS.Seconds(), 1e-9))))
		if s.Bulk > 0 && s.BulkOK {
			o.Printf("a call of %s there and back: %s\n", cli.Bytes(s.Bulk), rate(2*uint64(s.Bulk), s.BulkNS))
		}
		if s.OK {
			o.Printf("%s\n", o.Style.Green("every byte came back"))
		} else {
			o.Printf("%s\n", o.Style.Red("something did not come back as it was sent"))
		}
	}
	if ok && !s.OK {
		return cli.ErrSilent
	}
	return nil
}
