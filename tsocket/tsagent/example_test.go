package tsagent_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

// An agent on a bus, and a process that has its sockets of it. Here both are one process; on a broker's bus they are two,
// and nothing else changes.
func Example() {
	ctx := context.Background()
	hub := loopback.New(nil)
	bus := hub.Open()
	defer bus.Close()
	agent, err := tsagent.New(ctx, bus, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer agent.Close()

	process := hub.Open()
	defer process.Close()
	c, err := tsagent.NewClient(ctx, process, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	l, err := c.ListenTCP(ctx, tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)), nil)
	if err != nil {
		log.Fatal(err)
	}
	a, err := c.DialTCP(ctx, tsocket.Addr{}, l.Addr())
	if err != nil {
		log.Fatal(err)
	}
	b, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := a.Writev(ctx, []byte("hello, "), []byte("bus")); err != nil {
		log.Fatal(err)
	}
	got := make([]byte, 10)
	_, err = b.Readv(ctx, got)
	fmt.Println(string(got), err)
	for _, s := range agent.Sockets() {
		fmt.Println(s.Type, s.State)
	}
	// Output:
	// hello, bus <nil>
	// stream listening
	// stream connected
	// stream connected
}

// A policy says who may do what; the text of its refusal is what the process is told.
func ExamplePolicyFunc() {
	ctx := context.Background()
	bus := loopback.New(nil).Open()
	defer bus.Close()
	agent, err := tsagent.New(ctx, bus, &tsagent.Config{Policy: tsagent.PolicyFunc(func(a *tsagent.Access) error {
		if a.Op == tsagent.OpConnect && a.Addr.Port() == 25 {
			return fmt.Errorf("rule \"no mail\"")
		}
		return nil
	})})
	if err != nil {
		log.Fatal(err)
	}
	defer agent.Close()
	c, err := tsagent.NewClient(ctx, bus, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.DialTCP(ctx, tsocket.Addr{}, tsocket.MustAddr(tsocket.ParseIP("ipv4", "192.0.2.1", 25)))
	fmt.Println(err)
	// Output:
	// tsocket connect ipv4:192.0.2.1:25: connect ipv4:192.0.2.1:25: not permitted: rule "no mail"
}
