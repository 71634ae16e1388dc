// Command two-hosts is a site of two hosts in one process: two brokers, joined through a NATS server within. An agent on one host
// is called from the other, and a group has a member on each.
//
//	go run ./examples/two-hosts
//
// On two machines each broker is `cnbus serve --join`; the agent and its callers are the same as here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "two-hosts:", err)
		os.Exit(1)
	}
}

var (
	echo  = cbid.Make(0x200, 1)
	group = uint32(0x201)
	quiet = slog.New(slog.DiscardHandler)
)

func run(ctx context.Context, w io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "two-hosts")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := natsbridge.StartEmbedded(natsbridge.EmbeddedConfig{Name: "nats", Store: filepath.Join(dir, "nats"), Log: quiet})
	if err != nil {
		return err
	}
	defer server.Close()
	var buses []*client.Bus
	for _, name := range []string{"one", "two"} {
		bus, stop, err := host(ctx, server, name, filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer stop()
		buses = append(buses, bus)
	}
	return errors.Join(call(ctx, w, buses[0], buses[1]), publish(ctx, w, buses[0], buses[1]))
}

// host starts a broker, joins it to the site, and connects to it.
func host(ctx context.Context, server *natsbridge.Embedded, name, socket string) (*client.Bus, func(), error) {
	b, err := broker.New(&broker.Config{Socket: socket, HistoryDir: "-", Log: quiet})
	if err != nil {
		return nil, nil, err
	}
	serving, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.Serve(serving) }()
	end := func() { cancel(); <-served }
	bridge, err := natsbridge.Join(ctx, b, &natsbridge.Config{Host: name, Server: server, SameUsers: true, Log: quiet})
	if err != nil {
		end()
		return nil, nil, err
	}
	bus, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "example", Logger: quiet})
	if err != nil {
		_ = bridge.Close(ctx)
		end()
		return nil, nil, err
	}
	return bus, func() {
		_ = bus.Close()
		_ = bridge.Close(ctx)
		end()
	}, nil
}

// call calls an agent of host one from host two.
func call(ctx context.Context, w io.Writer, one, two *client.Bus) error {
	agent := connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, append([]byte("one has got "), d.Msg.Data...)) // the caller may be gone
	})
	if err := connector.AddSiteCallback(ctx, one, echo, "echo", agent, connector.SiteOptions{}); err != nil {
		return err
	}
	ep, err := two.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	reply, err := ep.Call(ctx, connector.Message{ID: echo, Data: []byte("a call of two")}, connector.Dest{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", reply.Msg.Data)
	return err
}

// publish sends to a group from host one; the member is on host two.
func publish(ctx context.Context, w io.Writer, one, two *client.Bus) error {
	member, err := two.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer member.Close()
	if err := member.Join(ctx, group); err != nil {
		return err
	}
	if err := one.Send(ctx, connector.Message{ID: cbid.Make(group, 1), Data: []byte("news of one")}, connector.Dest{Group: group}); err != nil {
		return err
	}
	ev, err := member.Recv(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "two has got %s\n", ev.Msg.Data)
	return err
}
