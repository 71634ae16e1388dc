// Command reqreply asks and answers: an agent that adds two numbers, and a user
// that calls it. A reply carries the seq of its request, and its ack + 1; Call sees to
// both.
//
//	go run ./examples/reqreply
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
)

var adder = cbid.Make(0x124, 1)

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx := context.Background()
	bus, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reqreply:", err)
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
	// It never blocks, so it may run in the sender's goroutine where that is possible.
	if err := bus.AddCallback(ctx, adder, "adder", connector.Inline(connector.HandlerFunc(add))); err != nil {
		return err
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	for _, request := range []string{"1 2", "20 22", "one two"} {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		reply, err := ep.Call(ctx, connector.Message{ID: adder, Data: []byte(request)}, connector.Dest{})
		cancel()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %s\n", request, reply.Msg.Data)
	}
	// Nobody has this id: that is told at once, and is another error than a timeout.
	_, err = ep.Call(ctx, connector.Message{ID: cbid.Make(0x124, 2)}, connector.Dest{})
	if !errors.Is(err, connector.ErrNoID) {
		return fmt.Errorf("a call to nobody: %w", err)
	}
	fmt.Fprintln(w, err)
	return nil
}

func add(ctx context.Context, d *connector.Delivery) {
	var a, b int
	answer := "two numbers, please"
	if _, err := fmt.Sscan(string(d.Msg.Data), &a, &b); err == nil {
		answer = fmt.Sprint(a + b)
	}
	if err := d.Reply(ctx, []byte(answer)); err != nil {
		fmt.Fprintln(os.Stderr, "reqreply:", err)
	}
}
