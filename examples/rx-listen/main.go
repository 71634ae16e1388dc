// Command rx-listen is a server and a client in the socket model, step by step as the documentation of Linux's AF_RXRPC has them
// ("Example client usage" and "Example server usage" of Documentation/networking/rxrpc.txt, whose numbers the comments are).
//
//	rx-listen -listen 127.0.0.1:7000 &
//	rx-listen -connect 127.0.0.1:7000 hello
//
// The reply is the request in capitals. With keys, whose names are those of the kernel's user keyring (cnbus rx klog puts them there), or with -bus of the
// user's keyring in the broker (cnbus rx key):
//
//	rx-listen -listen 127.0.0.1:7000 -bus -keyring AFSkeys &
//	rx-listen -connect 127.0.0.1:7000 -key afs@example.com -level 2 hello
//
// With -bus the socket is one of the RxRPC agent, by messages over the broker: the program opens no
// UDP port, and does the same. Either end may be so.
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

	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// service is the number that server and client have agreed upon: VL_SERVICE_ID.
const service = 52

// longest request that the server takes.
const longest = 1 << 20

// socket is what the program needs of a socket of AF_RXRPC.
type socket interface {
	SetSecurityKey(description string) error
	SetSecurityKeyring(description string) error
	SetMinSecurityLevel(level uint32) error
	Bind(a rxrpc.Addr) error
	Connect(a rxrpc.Addr) error
	Listen(backlog int) error
	Getsockname() rxrpc.Addr
	Sendmsg(ctx context.Context, m rxrpc.Msg) (int, error)
	Recvmsg(ctx context.Context, p []byte, flags rxrpc.MsgFlags) (rxrpc.Msg, error)
	Close() error
}

var (
	_ socket = (*rxrpc.Socket)(nil)
	_ socket = (*rxclient.Socket)(nil)
)

// own makes a socket of this process, whose keys are in the kernel's user keyring.
func own() (socket, error) {
	source, err := kernelKeys()
	if err != nil {
		return nil, err
	}
	return rxrpc.NewSocket(rxrpc.Inet, &rxrpc.SocketConfig{Keys: source})
}

// ofAgent returns what makes sockets of the agent, and what ends them.
func ofAgent(ctx context.Context, path string) (open func() (socket, error), end func(), err error) {
	bus, err := client.Dial(ctx, &client.Config{Socket: path, Name: "rx-listen"})
	if err != nil {
		return nil, nil, err
	}
	conn, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		return nil, nil, errors.Join(err, bus.Close())
	}
	open = func() (socket, error) { return conn.NewSocket(rxrpc.Inet, nil) }
	return open, func() { _ = errors.Join(conn.Close(), bus.Close()) }, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:7000", "UDP `address` to serve at")
	connect := flag.String("connect", "", "`address` of a server: be its client")
	overBus := flag.Bool("bus", false, "use a socket of the RxRPC agent, over the bus")
	var sec security
	flag.StringVar(&sec.key, "key", "", "`name` of a key: be a client with it")
	flag.StringVar(&sec.keyring, "keyring", "", "`name` of a keyring with the server's keys")
	flag.UintVar(&sec.level, "level", rxrpc.SecurityPlain, "least `level` of security: 0, 1 or 2")
	path := flag.String("socket", "", "`path` of the broker's socket, with -bus; default as docs/protocol.md says")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *connect, *overBus, *path, sec, strings.Join(flag.Args(), " ")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, connect string, overBus bool, path string, sec security, text string) error {
	open := own
	if overBus {
		of, end, err := ofAgent(ctx, path)
		if err != nil {
			return err
		}
		defer end()
		open = of
	}
	open = sec.set(open)
	if connect == "" {
		return serve(ctx, open, listen, func(at rxrpc.Addr) { fmt.Fprintln(os.Stderr, "serving at", at) })
	}
	reply, err := request(ctx, open, connect, []byte(text))
	if err == nil {
		fmt.Printf("%s\n", reply)
	}
	return err
}

func request(ctx context.Context, open func() (socket, error), server string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	to, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, err
	}
	// (1) An RxRPC socket is set up.
	client, err := open()
	if err != nil {
		return nil, err
	}
	defer client.Close()

	// (2) A local address can optionally be bound: service 0 is that of a client.
	if err := client.Bind(rxrpc.Addr{Addr: netip.MustParseAddrPort("0.0.0.0:0")}); err != nil {
		return nil, err
	}

	// (3) The security was set before the socket was bound, as AF_RXRPC wants it today: see security.set.

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

func serve(ctx context.Context, open func() (socket, error), local string, ready func(rxrpc.Addr)) error {
	addr, err := netip.ParseAddrPort(local)
	if err != nil {
		return err
	}
	// (1) An RxRPC socket is created.
	server, err := open()
	if err != nil {
		return err
	}
	defer server.Close()

	// (1) Security was set up: see security.set.

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
