package loopback_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/loopback"
)

// An agent registers a callback, and an endpoint of another "process" calls it.
func Example() {
	ctx := context.Background()
	hub := loopback.New(nil)
	agent, user := hub.Open(), hub.Open()
	defer agent.Close()
	defer user.Close()

	id := cbid.Make(20, 1)
	err := agent.AddCallback(ctx, id, "upper", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, []byte(strings.ToUpper(string(d.Msg.Data))))
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	ep, err := user.Endpoint(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := ep.Call(ctx, connector.Message{ID: id, Data: []byte("hello")}, connector.Dest{})
	fmt.Printf("%s %v\n", reply.Msg.Data, err)

	_, err = ep.Call(ctx, connector.Message{ID: cbid.Make(20, 2)}, connector.Dest{})
	fmt.Println(errors.Is(err, connector.ErrNoID))
	// Output:
	// HELLO <nil>
	// true
}

// An endpoint receives the events of a group: messages, and how many it lost.
func Example_events() {
	ctx := context.Background()
	hub := loopback.New(&loopback.Config{QueueMessages: 3})
	agent, user := hub.Open(), hub.Open()
	defer agent.Close()
	defer user.Close()
	ep, _ := user.Endpoint(ctx)
	if err := ep.Join(ctx, 20); err != nil {
		fmt.Println(err)
		return
	}
	for i := range 5 { // more than its queue has room for
		m := connector.Message{ID: cbid.Make(20, 1), Data: fmt.Appendf(nil, "event %d", i)}
		if err := agent.Send(ctx, m, connector.Dest{Group: 20}); err != nil {
			fmt.Println(err)
		}
	}
	for range 4 {
		ev, err := ep.Recv(ctx)
		switch {
		case err != nil:
			fmt.Println(err)
		case ev.Kind == connector.EventMessage:
			fmt.Printf("%s\n", ev.Msg.Data)
		case ev.Kind == connector.EventLost:
			fmt.Printf("%d lost here\n", ev.Lost)
		}
	}
	// Output:
	// event 0
	// event 1
	// event 2
	// 2 lost here
}

// thermometer is the userspace half of an imaginary kernel driver: it asks the
// driver's id for the temperature, and warns when the driver multicasts an alarm. It
// knows only the interface, so that it runs on any carrier.
func thermometer(ctx context.Context, bus connector.Bus, driver cbid.ID) (log []string, err error) {
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return nil, err
	}
	defer ep.Close()
	if err := ep.Join(ctx, driver.Idx); err != nil {
		return nil, err
	}
	reply, err := ep.Call(ctx, connector.Message{ID: driver, Data: []byte("read")}, connector.Dest{})
	if err != nil {
		return nil, err
	}
	log = append(log, fmt.Sprintf("now %s", reply.Msg.Data))
	for {
		ev, err := ep.Recv(ctx)
		switch {
		case err != nil:
			return log, err
		case ev.Kind != connector.EventMessage:
		case len(ev.Msg.Data) == 0:
			return log, nil // the script's end
		default:
			log = append(log, fmt.Sprintf("alarm %s", ev.Msg.Data))
		}
	}
}

// The author of a driver's daemon runs it against a scripted driver: no root, no
// kernel, and situations that the hardware rarely gives.
func Example_scriptedAgent() {
	ctx := context.Background()
	hub := loopback.New(nil)
	driver, daemon := hub.Open(), hub.Open()
	defer driver.Close()
	defer daemon.Close()

	id := cbid.Make(21, 7)
	script := []string{"91 C", "95 C", ""}
	err := driver.AddCallback(ctx, id, "therm0", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		if d.Call && string(d.Msg.Data) == "read" {
			_ = d.Reply(ctx, []byte("45 C"))
		}
		for _, s := range script {
			_ = driver.Send(ctx, connector.Message{ID: id, Data: []byte(s)}, connector.Dest{})
		}
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := thermometer(ctx, daemon, id)
	fmt.Println(strings.Join(log, ", "), err)
	// Output:
	// now 45 C, alarm 91 C, alarm 95 C <nil>
}
