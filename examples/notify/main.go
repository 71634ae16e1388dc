// Command notify asks the connector to tell a group when ids are turned on or off: the notification of
// Documentation/connector, as it was when the connector came into the kernel. A request, a cn_ctl_msg with ranges of idx
// and val, goes to the control id {-1,-1}; from then on each registration in those ranges makes an empty message with the id
// and ack 0 in the group that was asked for, each removal one with ack 1.
//
//	go run ./examples/notify -bus unix:/run/cnbus/cnbus.sock
//
// It turns an id on and off so that there is something to tell, and ends when it was told. examples/watch is what a new
// program should use: it also tells what is there already.
package main

import (
	"context"
	"encoding/binary"
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

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx := context.Background()
	bus, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
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

// group is where the notifications go; any that we may send to.
const group = 0x2100

func run(ctx context.Context, bus connector.Bus, w io.Writer) error {
	defer bus.Close()
	ep, err := bus.Endpoint(ctx)
	if err != nil {
		return err
	}
	defer ep.Close()
	if err := ep.Join(ctx, group); err != nil {
		return err
	}
	// Ten idx from 0x2100, and two ranges of val.
	request, err := connector.Ctl{
		Group: group,
		Idx:   []connector.NotifyReq{{First: 0x2100, Range: 10}},
		Val:   []connector.NotifyReq{{First: 1, Range: 10}, {First: 100, Range: 1}},
	}.Append(nil, binary.NativeEndian)
	if err != nil {
		return err
	}
	reply, err := ep.Call(ctx, connector.Message{ID: cbid.Control, Data: request}, connector.Dest{})
	if err == nil {
		err = connector.ParseCtlResult(reply.Msg.Data)
	}
	if err != nil {
		return err
	}

	// Something to tell: two ids that were asked for, and one that was not.
	nothing := connector.HandlerFunc(func(context.Context, *connector.Delivery) {})
	ids := []cbid.ID{cbid.Make(0x2101, 5), cbid.Make(0x2101, 50), cbid.Make(0x2102, 100)}
	for _, id := range ids {
		if err := bus.AddCallback(ctx, id, "flicker", nothing); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := bus.DelCallback(ctx, id); err != nil {
			return err
		}
	}
	for on := 2; on > 0; {
		ev, err := ep.Recv(ctx)
		switch {
		case err != nil:
			return err
		case ev.Kind != connector.EventMessage:
			return fmt.Errorf("%v: %d notifications missing: %w", ev.Kind, ev.Lost, ev.Err)
		case ev.Msg.Ack == 0:
			fmt.Fprintf(w, "%v is on\n", ev.Msg.ID)
		default:
			fmt.Fprintf(w, "%v is off\n", ev.Msg.ID)
			on--
		}
	}
	return nil
}
