package bussock_test

import (
	"context"
	"fmt"
	"io"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// A stream between two ends of a bus. With client.Dial in the place of the loopback
// bus they are in two processes.
func Example() {
	ctx := context.Background()
	bus := loopback.New(nil).Open()
	defer bus.Close()
	node, err := bussock.New(ctx, bus, nil)
	if err != nil {
		panic(err)
	}
	defer node.Close()

	id := cbid.Make(0x7000, 1)
	l, err := node.Listen(ctx, id, &bussock.ListenConfig{Name: "greeter"})
	if err != nil {
		panic(err)
	}
	go func() {
		s, err := l.Accept(ctx)
		if err != nil {
			return
		}
		defer s.Close()
		name, _ := io.ReadAll(tsocket.AsNetConn(s))
		_, _ = s.Writev(ctx, []byte("hello, "), name)
	}()

	s, err := node.Dial(ctx, id)
	if err != nil {
		panic(err)
	}
	c := tsocket.AsNetConn(s)
	defer c.Close()
	fmt.Fprint(c, "world")
	_ = s.CloseWrite(ctx)
	answer, err := io.ReadAll(c)
	fmt.Printf("%s %v\n", answer, err)
	// Output: hello, world <nil>
}

// A datagram socket is found by an id, and then by its address.
func ExampleNode_Publish() {
	ctx := context.Background()
	bus := loopback.New(nil).Open()
	defer bus.Close()
	node, err := bussock.New(ctx, bus, nil)
	if err != nil {
		panic(err)
	}
	defer node.Close()
	server, err := node.Dgram(&bussock.DgramConfig{Number: 7000})
	if err != nil {
		panic(err)
	}
	if _, err := node.Publish(ctx, cbid.Make(0x7000, 2), "clock", server); err != nil {
		panic(err)
	}

	at, err := node.Lookup(ctx, cbid.Make(0x7000, 2))
	if err != nil {
		panic(err)
	}
	client, err := node.Dgram(nil)
	if err != nil {
		panic(err)
	}
	_, _ = client.SendTo(ctx, []byte("tick"), at)
	b := make([]byte, 100)
	n, from, err := server.RecvFrom(ctx, b)
	fmt.Printf("%s %v %v\n", b[:n], from == client.LocalAddr(), err)
	// Output: tick true <nil>
}
