// Command watch tells who is registered on the bus: first those who are there, then
// a marker, then every change, with no gap between them.
//
//	go run ./examples/watch
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

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx := context.Background()
	bus, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "watch:", err)
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
	if err := bus.AddCallback(ctx, cbid.Make(0x125, 1), "early", nothing); err != nil {
		return err
	}
	// Only idx 0x125, every val.
	set := cbid.NewSet(cbid.Rect{Idx: cbid.Range{First: 0x125, Count: 1}, Val: cbid.Range{Count: 1 << 32}})
	watcher, err := connector.Watch(ctx, bus, set)
	if err != nil {
		return err
	}
	defer watcher.Close()
	for {
		c, err := watcher.Next(ctx)
		if err != nil {
			return err
		}
		switch c.Kind {
		case connector.ChangeMarker:
			fmt.Fprintln(w, "that is all at present")
			// Give it something to tell.
			if err := bus.AddCallback(ctx, cbid.Make(0x125, 2), "late", nothing); err != nil {
				return err
			}
			if err := bus.DelCallback(ctx, cbid.Make(0x125, 1)); err != nil {
				return err
			}
		case connector.ChangeResync:
			fmt.Fprintln(w, "begin again") // forget what was told before
		default:
			fmt.Fprintf(w, "%v %v %s\n", c.Kind, c.Info.ID, c.Info.Name)
			if c.Kind == connector.ChangeRemoved {
				return nil
			}
		}
	}
}
