// Command rx-hello serves RxRPC and calls itself, with no socket but the broker's: the RxRPC agent of
// cnbus serve has the UDP ports.
package main

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bus, err := client.Dial(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	rx, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer rx.Close()

	// From here on it is package rxrpc, as without a bus.
	e, err := rx.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	hello := func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return fmt.Appendf(dst, "hello, %s", request), nil
	}
	if err := rxrpc.NewServer(e, nil).Handle(1234, rxrpc.Unary(hello)); err != nil {
		log.Fatal(err)
	}
	c, err := rx.Dial(e.LocalAddr().String(), nil) // here, or in any other process, on any host
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Call(ctx, 1234, []byte("world"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply)
}
