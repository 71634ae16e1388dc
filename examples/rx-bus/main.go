// Command rx-bus is RxRPC without a network: two engines in two processes, whose datagrams are messages of the
// bus. No UDP port is opened.
//
//	rx-bus -serve &
//	echo hello | rx-bus
//
// The broker, cnbus serve, must be running.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

// name is the id by which the client finds the server's socket; service is the number that both have
// agreed upon.
var name = cbid.Make(0x7002, 1)

const service = 1234

func main() {
	serving := flag.Bool("serve", false, "be the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *serving, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, serving bool, in io.Reader, out io.Writer) error {
	bus, err := client.Dial(ctx, nil)
	if err != nil {
		return err
	}
	defer bus.Close()
	node, err := bussock.New(ctx, bus, nil)
	if err != nil {
		return err
	}
	defer node.Close()

	// The engine knows its peers by IP address and port: a socket of the bus has such.
	number := uint16(0) // any
	if serving {
		number = 7000
	}
	d, err := node.Dgram(&bussock.DgramConfig{Number: number})
	if err != nil {
		return err
	}
	e, err := rxrpc.OpenOn(d, nil)
	if err != nil {
		return err
	}
	defer e.Close()
	if !serving {
		return call(ctx, node, e, in, out)
	}
	stop, err := node.Publish(ctx, name, "rx-bus", d)
	if err != nil {
		return err
	}
	return errors.Join(serve(ctx, e), stop())
}

func serve(ctx context.Context, e *rxrpc.Endpoint) error {
	s := rxrpc.NewServer(e, nil)
	err := s.Handle(service, rxrpc.Unary(func(_ context.Context, call *rxrpc.ServerCall, reply, request []byte) ([]byte, error) {
		return fmt.Appendf(reply, "%s, says %v", request, e.LocalAddr()), nil
	}))
	if err != nil {
		return err
	}
	<-ctx.Done()
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(s.Shutdown(patience), e.Wait(patience))
}

// call makes a call of each line.
func call(ctx context.Context, node *bussock.Node, e *rxrpc.Endpoint, in io.Reader, out io.Writer) error {
	at, err := node.Lookup(ctx, name)
	if err != nil {
		return err
	}
	c := e.Client(at.AddrPort(), nil)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		reply, err := c.Call(ctx, service, lines.Bytes())
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", reply)
	}
	return lines.Err()
}
