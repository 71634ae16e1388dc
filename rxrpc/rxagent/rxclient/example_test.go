package rxclient_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"strings"

	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// Clients and servers are those of package rxrpc; only what opens them is another.
func Example() {
	ctx := context.Background()
	hub := loopback.New(nil) // or client.Dial, for a broker, which has an agent
	agentsBus, bus := hub.Open(), hub.Open()
	defer agentsBus.Close()
	defer bus.Close()
	agent, err := rxagent.New(ctx, agentsBus, &rxagent.Config{Endpoint: &rxrpc.Config{Retain: -1}})
	if err != nil {
		log.Fatal(err)
	}
	defer agent.Close()

	conn, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	e, err := conn.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	err = s.Handle(52, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		return append(dst, strings.ToUpper(string(request))...), nil
	}))
	if err != nil {
		log.Fatal(err)
	}

	c, err := conn.Dial(e.LocalAddr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Call(ctx, 52, []byte("by messages"))
	fmt.Printf("%s %v\n", reply, err)
	_, err = c.Call(ctx, 53, nil)
	fmt.Println(rxrpc.CodeOf(err) == rxrpc.InvalidOperation)
	// Output:
	// BY MESSAGES <nil>
	// true
}
