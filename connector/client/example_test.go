//go:build linux

package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
)

// One process registers a callback, another calls it. The broker is usually a
// process of its own, `cnbus serve`, which a nil Config finds.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "cnbus")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "cnbus.sock")
	b, err := broker.New(&broker.Config{Socket: socket, HistoryDir: "-", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()

	id := cbid.Make(0x2000, 1)
	agent, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "agent"})
	if err != nil {
		panic(err)
	}
	err = agent.AddCallback(ctx, id, "greeter", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if err := d.Reply(ctx, fmt.Appendf(nil, "hello, %s", d.Msg.Data)); err != nil {
			fmt.Println(err)
		}
	}))
	if err != nil {
		panic(err)
	}

	bus, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "caller"})
	if err != nil {
		panic(err)
	}
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		panic(err)
	}
	reply, err := ep.Call(ctx, connector.Message{ID: id, Data: []byte("world")}, connector.Dest{})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\n", reply.Msg.Data)

	_ = bus.Close()
	_ = agent.Close()
	cancel()
	if err := <-served; err != nil {
		fmt.Println(err)
	}
	// Output: hello, world
}
