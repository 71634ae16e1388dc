package rxkeys_test

import (
	"context"
	"fmt"

	bus "github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/rxrpc/keyring"
	"github.com/cnbus/cnbus/rxrpc/rxagent"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxkeys"
)

// A program gives the agent of its bus a key, which its servers there find by service and
// version. Nobody can read it back.
func Example() {
	ctx := context.Background()
	hub := bus.New(nil) // or a broker: connector/client
	agentBus, userBus := hub.Open(), hub.Open()
	defer agentBus.Close()
	defer userBus.Close()
	agent, err := rxagent.New(ctx, agentBus, &rxagent.Config{Keys: rxkeys.New(nil)})
	if err != nil {
		panic(err)
	}
	defer agent.Close()

	ep, err := userBus.Endpoint(ctx)
	if err != nil {
		panic(err)
	}
	defer ep.Close()
	c := &rxkeys.Client{Endpoint: ep}
	id, err := c.Add(ctx, keyring.TypeServer, "52:2", []byte{1, 2, 4, 7, 8, 11, 13, 14}, rxkeys.OwnRing, 0)
	if err != nil {
		panic(err)
	}
	info, err := c.Describe(ctx, id)
	fmt.Println(info.Type, info.Description, err)
	_, err = c.Search(ctx, rxkeys.OwnRing, keyring.TypeServer, "52:3") // ENOKEY
	fmt.Println(err != nil)
	// Output:
	// rxrpc_s 52:2 <nil>
	// true
}
