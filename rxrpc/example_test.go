package rxrpc_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
)

// A server with one service, whose requests are small, and a client of it.
func Example() {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	err = s.Handle(1234, rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, request []byte) ([]byte, error) {
		if len(request) == 0 {
			return nil, rxrpc.Abort(rxrpc.BadOpcode)
		}
		return append(dst, strings.ToUpper(string(request))...), nil
	}))
	if err != nil {
		log.Fatal(err)
	}

	c := e.Client(e.LocalAddr(), nil) // usually from elsewhere: rxrpc.Dial
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := c.Call(ctx, 1234, []byte("hello"))
	fmt.Println(string(reply), err)

	_, err = c.Call(ctx, 1234, nil)
	var a *rxrpc.AbortError
	if errors.As(err, &a) {
		fmt.Println(a.Name(), a.Remote)
	}
	// Output:
	// HELLO <nil>
	// RXGEN_OPCODE true
}

// A reply of any length is read as a stream.
func ExampleClient_NewCall() {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	// It sends back as many bytes as the request says.
	_ = s.Handle(7, rxrpc.HandlerFunc(func(_ context.Context, call *rxrpc.ServerCall) error {
		var n uint32
		if err := binary.Read(call, binary.BigEndian, &n); err != nil {
			return err
		}
		_, err := io.CopyN(call, zeros{}, int64(n))
		return err
	}))

	call, err := e.Client(e.LocalAddr(), nil).NewCall(context.Background(), 7)
	if err != nil {
		log.Fatal(err)
	}
	defer call.Close()
	if _, err := call.WriteLast(binary.BigEndian.AppendUint32(nil, 5_000_000)); err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, call)
	fmt.Println(n, err)
	// Output: 5000000 <nil>
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A server that has a better service in place of an old one, and a client that asks
// for it.
func ExampleServer_HandleUpgrade() {
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	say := func(what string) rxrpc.Handler {
		return rxrpc.Unary(func(_ context.Context, _ *rxrpc.ServerCall, dst, _ []byte) ([]byte, error) {
			return append(dst, what...), nil
		})
	}
	s := rxrpc.NewServer(e, nil)
	defer s.Close()
	_ = s.HandleUpgrade(52, say("IPv4 only"), 2052, say("all addresses"))

	c := e.Client(e.LocalAddr(), nil)
	reply, service, err := c.CallUpgrade(context.Background(), 52, []byte("capabilities?"))
	fmt.Printf("%s: %d %v\n", reply, service, err)
	// Output: all addresses: 2052 <nil>
}

// Every packet in readable form.
func ExampleTraceTo() {
	var trace strings.Builder
	e, err := rxrpc.Open(netip.MustParseAddrPort("127.0.0.1:0"), &rxrpc.Config{Hooks: &rxrpc.Hooks{Packet: rxrpc.TraceTo(&trace)}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = e.Client(e.LocalAddr(), nil).Call(context.Background(), 99, []byte("anybody there?"))
	_ = e.Close()
	fmt.Println(rxrpc.CodeOf(err), strings.Contains(trace.String(), "ABORT"))
	// Output: -2 true
}
