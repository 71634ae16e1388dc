// Command hello registers an id, calls it, and prints the answer. It needs
// nothing but a running broker: cnbus serve.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

func main() {
	ctx, id := context.Background(), cbid.Make(0x1000, 1)
	bus, err := client.Dial(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	err = bus.AddCallback(ctx, id, "hello", connector.HandlerFunc(func(ctx context.Context, d *connector.Delivery) {
		_ = d.Reply(ctx, fmt.Appendf(nil, "hello, uid %d: %s", d.From.Cred.UID, d.Msg.Data))
	}))
	if err != nil {
		log.Fatal(err)
	}
	caller, err := bus.Endpoint(ctx) // here, or in any other process
	if err != nil {
		log.Fatal(err)
	}
	reply, err := caller.Call(ctx, connector.Message{ID: id, Data: []byte("it works")}, connector.Dest{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply.Msg.Data)
}
