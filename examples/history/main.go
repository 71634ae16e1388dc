// Command history shows a group that keeps its last messages: a receiver that
// comes back gets what it missed, and is told exactly how much is gone.
//
//	go run ./examples/history
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
)

var (
	id    = cbid.Make(0x126, 1)
	group = id.Idx
)

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx := context.Background()
	bus, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "history:", err)
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
	nothing := connector.HandlerFunc(func(context.Context, *connector.Delivery) {})
	if err := bus.AddCallback(ctx, id, "publisher", nothing); err != nil {
		return err
	}
	// Who has an id of the group may give it a history: here of 5 messages.
	if err := connector.SetHistory(ctx, bus, group, connector.History{Messages: 5}); err != nil {
		return err
	}
	other, err := bus.Endpoint(ctx) // somebody who always listens
	if err != nil {
		return err
	}
	if err := other.Join(ctx, group); err != nil {
		return err
	}

	fmt.Fprintln(w, "the receiver reads three messages and goes")
	at, err := receive(ctx, bus, w, connector.Position{}, func() error { return publish(ctx, bus, 1, 3) }, 3)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "ten are published meanwhile; it comes back")
	if err := publish(ctx, bus, 4, 13); err != nil {
		return err
	}
	_, err = receive(ctx, bus, w, at, func() error { return publish(ctx, bus, 14, 14) }, 7)
	return err
}

func publish(ctx context.Context, bus connector.Bus, from, to int) error {
	for i := from; i <= to; i++ {
		m := connector.Message{ID: id, Data: fmt.Appendf(nil, "event %d", i)}
		if err := bus.Send(ctx, m, connector.Dest{}); err != nil {
			return err
		}
	}
	return nil
}

// receive joins the group at a position, prints n events of it and returns the
// position to go on from.
func receive(ctx context.Context, bus connector.Bus, w io.Writer, at connector.Position, joined func() error, n int) (connector.Position, error) {
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return at, err
	}
	defer ep.Close()
	if err := connector.JoinAt(ctx, ep, group, at); err != nil {
		return at, err
	}
	at.Epoch = ep.(connector.HistoryEndpoint).Epoch(group)
	if err := joined(); err != nil {
		return at, err
	}
	for range n {
		ev, err := ep.Recv(ctx)
		if err != nil {
			return at, err
		}
		switch ev.Kind {
		case connector.EventMessage:
			fmt.Fprintf(w, "  %d: %s\n", ev.Pos, ev.Msg.Data)
			at.Pos = ev.Pos
		case connector.EventLost:
			fmt.Fprintf(w, "  %d lost here\n", ev.Lost)
		}
	}
	return at, nil
}
