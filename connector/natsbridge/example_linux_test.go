package natsbridge_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// Two brokers of one process join a site by a NATS server within. An id that is registered for the site on
// host one is called from host two.
func ExampleJoin() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "nats", Store: filepath.Join(dir, "nats"), Log: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	var buses []connector.Bus
	for _, name := range []string{"one", "two"} {
		b, err := broker.New(&broker.Config{Socket: filepath.Join(dir, name), HistoryDir: "-", Log: quiet})
		if err != nil {
			log.Fatal(err)
		}
		serving, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- b.Serve(serving) }()
		defer func() {
			stop()
			<-ended
		}()
		bridge, err := natsbridge.Join(ctx, b, &natsbridge.Config{Host: name, Server: server, SameUsers: true, Log: quiet})
		if err != nil {
			log.Fatal(err)
		}
		defer bridge.Close(ctx)
		bus, err := b.Bus(ctx, "example")
		if err != nil {
			log.Fatal(err)
		}
		defer bus.Close()
		buses = append(buses, bus)
	}

	id := cbid.Make(0x200, 1)
	agent := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, append([]byte("hello from one, "), d.Msg.Data...)) // the caller may be gone
	})
	if err := connector.AddSiteCallback(ctx, buses[0], id, "hello", agent, connector.SiteOptions{}); err != nil {
		log.Fatal(err)
	}
	ep, err := buses[1].Endpoint(ctx)
	if err != nil {
		log.Fatal(err)
	}
	reply, err := ep.Call(ctx, connector.Message{ID: id, Data: []byte("two")}, connector.Dest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(reply.Msg.Data))
	// Output: hello from one, two
}
