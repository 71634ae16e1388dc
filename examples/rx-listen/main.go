// Command rx-listen is a server and a client in the socket model, step by step as the documentation of Linux's AF_RXRPC has them
// ("Example client usage" and "Example server usage" of Documentation/networking/rxrpc.txt, whose numbers the comments are).
//
//	rx-listen -listen 127.0.0.1:7000 &
//	rx-listen -connect 127.0.0.1:7000 hello
//
// The reply is the request in capitals.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
)

// service is the number that server and client have agreed upon: VL_SERVICE_ID.
const service = 52

// longest request that the server takes.
const longest = 1 << 20

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "UDP `address` to serve at")
	connect := flag.String("connect", "", "`address` of a server: be its client")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *connect != "" {
		var reply []byte
		if reply, err = request(ctx, *connect, []byte(strings.Join(flag.Args(), " "))); err == nil {
			fmt.Printf("%s\n", reply)
		}
	} else {
		err = serve(ctx, *listen, func(at rxrpc.Addr) { fmt.Fprintln(os.Stderr, "serving at", at) })
	}
	if err != nil {
		log.Fatal(err)
	}
}

func request(ctx context.Context, server string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, err
	}
	// (1) An RxRPC socket is set up.
	client, err := rxrpc.NewSocket(rxrpc.Inet, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()

	// (2) A local address can optionally be bound: service 0 is that of a client.
	if err := client.Bind(rxrpc.Addr{Addr: netip.MustParseAddrPort("0.0.0.0:0")}); err != nil {
		return nil, err
	}

	// (3) The security would be set here, by client.SetSecurityKey("AFS:example.org").

	// (4) The server to be contacted is specified.
	if err := client.Connect(rxrpc.Addr{Service: service, Addr: to}); err != nil {
		return nil, err
	}

	// (5) The request is posted, in parts, each with the tag of the call, all but the last with MSG_MORE.
	tag := rxrpc.Control{CallID: 1, HasCallID: true}
	half := len(data) / 2
	if _, err := client.Sendmsg(ctx, rxrpc.Msg{Control: tag, Data: data[:half], Flags: rxrpc.MsgMore}); err != nil {
		return nil, err
	}
	if _, err := client.Sendmsg(ctx, rxrpc.Msg{Control: tag, Data: data[half:]}); err != nil {
		return nil, err
	}

	// (6) The reply is picked up. MSG_EOR is set on the terminal read of the call; an abort or an
	// error comes as control data.
	var reply []byte
	buf := make([]byte, 4096)
	for {
		m, err := client.Recvmsg(ctx, buf, 0)
		if err != nil {
			return nil, err
		}
		switch c := m.Control; c.Command {
		case 0:
			reply = append(reply, m.Data...)
		case rxrpc.CtlAbort:
			return nil, rxrpc.Abort(c.Code)
		default:
			return nil, fmt.Errorf("%v: %d", c.Command, c.Code)
		}
		if m.Flags&rxrpc.MsgEOR != 0 {
			return reply, nil
		}
	}
}

func serve(ctx context.Context, local string, ready func(rxrpc.Addr)) error {
	addr, err := netip.ParseAddrPort(local)
	if err != nil {
		return err
	}
	// (1) An RxRPC socket is created.
	server, err := rxrpc.NewSocket(rxrpc.Inet, nil)
	if err != nil {
		return err
	}
	defer server.Close()

	// (2) Security would be set up here, by server.SetSecurityKeyring("AFSkeys").

	// (2) A local address must then be bound.
	if err := server.Bind(rxrpc.Addr{Service: service, Addr: addr}); err != nil {
		return err
	}

	// (3) The server is then set to listen out for incoming calls.
	if err := server.Listen(100); err != nil {
		return err
	}
	ready(server.Getsockname())

	requests := make(map[uint64][]byte)
	buf := make([]byte, 4096)
	for next := uint64(1); ; {
		m, err := server.Recvmsg(ctx, buf, 0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		id := m.Control.CallID
		tag := rxrpc.Control{CallID: id, HasCallID: true}
		switch {
		case m.Control.Command == rxrpc.CtlNewCall:
			// (4) A message says that there is a call. (5) It is accepted, which gives it a tag.
			tag.CallID, tag.Command = next, rxrpc.CtlAccept
			if _, err = server.Sendmsg(ctx, rxrpc.Msg{Control: tag}); err == nil {
				next++
			}

		case m.Flags&rxrpc.MsgEOR != 0:
			// (9) The final ACK, or that the call was aborted. The tag is free.
			delete(requests, id)

		case len(requests[id])+len(m.Data) > longest:
			// (10) The call is aborted; its end will be received.
			tag.Command, tag.Code = rxrpc.CtlAbort, rxrpc.UserAbort
			_, err = server.Sendmsg(ctx, rxrpc.Msg{Control: tag})

		default:
			// (6) Request data. All but its last piece is flagged MSG_MORE.
			requests[id] = append(requests[id], m.Data...)
			if m.Flags&rxrpc.MsgMore != 0 {
				continue
			}
			// (8) The reply is posted. It fits into the window, or the calls of others wait for this client.
			_, err = server.Sendmsg(ctx, rxrpc.Msg{Control: tag, Data: bytes.ToUpper(requests[id])})
		}
		if err != nil && !over(err) {
			return err
		}
	}
}

// over reports whether err is about one call, which has ended meanwhile.
func over(err error) bool {
	var e *rxrpc.SocketError
	return errors.As(err, &e) && e.HasCallID
}
