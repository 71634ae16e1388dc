// Command callback is an agent: it registers a callback under an id and prints
// what is sent there, until it is interrupted. On its own bus, where nobody else
// is, it sends itself a few messages and ends.
//
//	go run ./examples/callback
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
)

// id is in the range that the kernel leaves to others.
var id = cbid.Make(0x123, 0x456)

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	bus, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "callback:", err)
		os.Exit(1)
	}
}

// open returns the bus: one of this process alone, or a broker's.
func open(ctx context.Context, spec string) (connector.Bus, error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		return client.Dial(ctx, &client.Config{Socket: path})
	}
	if spec != "loopback:" {
		return nil, fmt.Errorf("bus %q: want loopback: or unix:PATH", spec)
	}
	return loopback.New(nil).Open(), nil
}

func run(ctx context.Context, bus connector.Bus, w io.Writer) error {
	defer bus.Close()
	got := make(chan string)
	// Callbacks of one id run one at a time, in the order in which the messages were sent.
	err := bus.AddCallback(ctx, id, "example", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		// d is ours until we return; the string keeps a copy.
		select {
		case got <- fmt.Sprintf("%v from port %d, pid %d: %s", d.Msg.ID, d.From.Port, d.From.Cred.PID, d.Msg.Data):
		case <-ctx.Done():
		}
	}))
	if err != nil {
		return err
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	for i := range 3 {
		m := connector.Message{ID: id, Seq: uint32(i), Data: fmt.Appendf(nil, "counter = %d", i)}
		if err := ep.Send(ctx, m, connector.Dest{}); err != nil {
			return err
		}
		select {
		case line := <-got:
			fmt.Fprintln(w, line)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return bus.DelCallback(ctx, id)
}
