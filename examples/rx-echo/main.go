// Command rx-echo is an echo server over RxRPC, and its client: each line that the client
// reads is a call, whose reply it prints.
//
//	rx-echo -listen 127.0.0.1:7007 &
//	echo hello | rx-echo -connect 127.0.0.1:7007
//
// With -trace either of them writes down every packet.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
)

// service is the number that server and client have agreed upon.
const service = 1234

func main() {
	listen := flag.String("listen", "127.0.0.1:7007", "UDP `address` to serve at")
	connect := flag.String("connect", "", "`address` of a server: be its client")
	trace := flag.Bool("trace", false, "write every packet to standard error")
	flag.Parse()
	cfg := &rxrpc.Config{}
	if *trace {
		cfg.Hooks = &rxrpc.Hooks{Packet: rxrpc.TraceTo(os.Stderr)}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *connect != "" {
		err = client(ctx, cfg, *connect, os.Stdin, os.Stdout)
	} else {
		err = serve(ctx, cfg, *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, cfg *rxrpc.Config, listen string) error {
	at, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	e, err := rxrpc.Open(at, cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	if err := s.Handle(service, rxrpc.HandlerFunc(echo)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "serving at", e.LocalAddr())
	<-ctx.Done()

	// What has begun is finished.
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(s.Shutdown(patience), e.Wait(patience))
}

// echo is the handler: RxRPC has two phases, so the request is read to its end
// before the reply begins.
func echo(_ context.Context, call *rxrpc.ServerCall) error {
	request, err := io.ReadAll(io.LimitReader(call, 1<<20+1))
	if err != nil {
		return err
	}
	if len(request) > 1<<20 {
		return rxrpc.Abort(rxrpc.UserAbort)
	}
	_, err = call.Write(request)
	return err
}

func client(ctx context.Context, cfg *rxrpc.Config, to string, in io.Reader, out io.Writer) error {
	peer, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	e, err := rxrpc.Open(netip.AddrPortFrom(unspecified(peer.Addr()), 0), cfg)
	if err != nil {
		return err
	}
	defer e.Close()
	c := e.Client(peer, nil)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		patience, cancel := context.WithTimeout(ctx, 5*time.Second)
		reply, err := c.Call(patience, service, lines.Bytes())
		cancel()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", reply)
	}
	return lines.Err()
}

// unspecified is the wildcard address of a's family.
func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
