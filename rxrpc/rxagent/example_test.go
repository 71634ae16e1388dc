package rxagent_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// An agent on a bus, and a program of the bus that calls a server by nothing but messages to it.
func Example() {
	ctx := context.Background()
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	server := rxrpc.NewServer(e, nil)
	defer server.Close()
	greet := rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return fmt.Appendf(dst, "hello, %s", request), nil
	})
	if err := server.Handle(52, greet); err != nil {
		fmt.Println(err)
		return
	}

	hub := loopback.New(nil) // or a broker: connector/client
	agentBus, userBus := hub.Open(), hub.Open()
	defer agentBus.Close()
	defer userBus.Close()
	agent, err := rxagent.New(ctx, agentBus, &rxagent.Config{Limits: rxagent.Limits{Sockets: 16}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()

	conn, err := rxclient.Dial(ctx, userBus, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	c, err := conn.Dial(e.LocalAddr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	reply, err := c.Call(ctx, 52, []byte("bus"))
	fmt.Printf("%s %v\n", reply, err)
	// Output:
	// hello, bus <nil>
}
