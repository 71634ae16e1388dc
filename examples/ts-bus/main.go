// Command ts-bus does what Samba's tsocket_guide.txt describes, function by function, with sockets of the tsocket agent: the
// program opens none itself, it sends messages to the id tsocket of a bus. Where the agent's socket is made, package
// tsagent stands in place of package tsocket; all else is as it would be without a bus.
//
//	go run ./examples/ts-bus -bus unix:/run/cnbus/cnbus.sock
//
// On loopback: the agent is in the program too.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/connector/loopback"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent"
)

func main() {
	spec := flag.String("bus", "loopback:", "the bus to run on: loopback: or unix:PATH of a broker")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	bus, done, err := open(ctx, *spec)
	if err == nil {
		err = run(ctx, bus, os.Stdout)
		done()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "ts-bus:", err)
		os.Exit(1)
	}
}

// open returns a bus on which there is an agent: a broker's, or one of this process alone, and what ends it.
func open(ctx context.Context, spec string) (connector.Bus, func(), error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		bus, err := client.Dial(ctx, &client.Config{Socket: path})
		return bus, func() { bus.Close() }, err
	}
	if spec != "loopback:" {
		return nil, nil, fmt.Errorf("bus %q: want loopback: or unix:PATH", spec)
	}
	bus := loopback.New(nil).Open()
	agent, err := tsagent.New(ctx, bus, nil)
	return bus, func() { agent.Close(); bus.Close() }, err
}

// run goes through the guide.
func run(ctx context.Context, bus connector.Bus, w io.Writer) error {
	c, err := tsagent.NewClient(ctx, bus, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, chapter := range []struct {
		title string
		show  func(context.Context, *tsagent.Client, io.Writer) error
	}{
		{"addresses", addresses},
		{"datagrams", datagrams},
		{"streams", streams},
		{"PDUs", pdus},
		{"queues", queues},
	} {
		fmt.Fprintf(w, "%s:\n", chapter.title)
		if err := chapter.show(ctx, c, w); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
	}
	return nil
}

// anyPort is the loopback address with a port that the kernel chooses.
func anyPort() tsocket.Addr { return tsocket.MustAddr(tsocket.ParseIP("ipv4", "127.0.0.1", 0)) }

// addresses: tsocket_address_inet_from_strings, _string, _inet_addr_string, _inet_port, _inet_set_port, _unix_from_path.
func addresses(_ context.Context, _ *tsagent.Client, w io.Writer) error {
	a, err := tsocket.ParseIP("ip", "192.0.2.1", 143)
	if err != nil {
		return err
	}
	b, err := a.WithPort(993) // a is a value: nothing has to be copied before
	if err != nil {
		return err
	}
	u, err := tsocket.UnixAddr("/run/example")
	fmt.Fprintf(w, "  %v, %s port %d, with another port %v, %v\n", a, a.IPString(), a.Port(), b, u)
	return err
}

// datagrams: tdgram_inet_udp_socket, tdgram_recvfrom_send/recv, tdgram_sendto_send/recv, tdgram_disconnect_send/recv.
func datagrams(ctx context.Context, c *tsagent.Client, w io.Writer) error {
	server, err := c.UDP(ctx, anyPort(), tsocket.Addr{})
	if err != nil {
		return err
	}
	user, err := c.UDP(ctx, anyPort(), server.LocalAddr())
	if err != nil {
		return err
	}
	request := server.RecvFromSend(ctx) // what C's ..._send returns; it is one of many that may be outstanding
	if _, err := user.SendTo(ctx, []byte("echo"), tsocket.Addr{}); err != nil {
		return err
	}
	got, err := request.Wait(ctx) // or OnDone(callback), and then Result, which is C's ..._recv
	if err != nil {
		return err
	}
	if _, err := server.SendTo(ctx, got.Data, got.Src); err != nil {
		return err
	}
	answer, err := user.RecvFromSend(ctx).Wait(ctx)
	if err != nil {
		return err
	}
	_, busy := user.RecvFromSend(ctx), user.RecvFromSend(ctx)
	_, err = busy.Result()
	fmt.Fprintf(w, "  %q came back; a second receive: %v\n", answer.Data, tsocket.Errno(err))
	return server.Disconnect(ctx)
}

// pair connects two streams, both of the agent: tstream_inet_tcp_connect_send/recv, and what C has no function for.
func pair(ctx context.Context, c *tsagent.Client) (a, b *tsocket.Stream, err error) {
	l, err := c.ListenTCP(ctx, anyPort(), nil)
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if a, err = c.DialTCP(ctx, tsocket.Addr{}, l.Addr()); err != nil {
		return nil, nil, err
	}
	b, err = l.Accept(ctx)
	return a, b, err
}

// streams: tstream_readv_send/recv, tstream_writev_send/recv, tstream_pending_bytes, tstream_disconnect_send/recv.
func streams(ctx context.Context, c *tsagent.Client, w io.Writer) error {
	a, b, err := pair(ctx, c)
	if err != nil {
		return err
	}
	head, body := make([]byte, 6), make([]byte, 5)
	reading := b.ReadvSend(ctx, head, body) // completes when both are full
	if _, err := a.Writev(ctx, []byte("hello "), []byte("world"), []byte("!")); err != nil {
		return err
	}
	n, err := reading.Wait(ctx)
	if err != nil {
		return err
	}
	if _, err := b.Readv(ctx, make([]byte, 1)); err != nil {
		return err
	}
	fmt.Fprintf(w, "  %d bytes in two vectors: %q %q\n", n, head, body)
	if err := a.Disconnect(ctx); err != nil {
		return err
	}
	_, err = b.Readv(ctx, make([]byte, 1))
	fmt.Fprintf(w, "  after the peer's disconnect: %v\n", tsocket.Errno(err))
	return b.Close()
}

// pdus: tstream_readv_pdu_send/recv with a next_vector function.
func pdus(ctx context.Context, c *tsagent.Client, w io.Writer) error {
	a, b, err := pair(ctx, c)
	if err != nil {
		return err
	}
	for _, text := range []string{"one", "three"} {
		if _, err := a.Writev(ctx, binary.BigEndian.AppendUint32(nil, uint32(len(text))), []byte(text)); err != nil {
			return err
		}
	}
	for range 2 {
		var length [4]byte
		var text []byte
		state := 0
		_, err := b.ReadPDU(ctx, func(*tsocket.Stream) ([][]byte, error) {
			switch state++; state {
			case 1:
				return [][]byte{length[:]}, nil
			case 2:
				text = make([]byte, binary.BigEndian.Uint32(length[:]))
				return [][]byte{text}, nil
			}
			return nil, nil // it is complete
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %s\n", text)
	}
	_, _ = a.Close(), b.Close()
	return nil
}

// queues: tstream_writev_queue_send/recv, tdgram_sendto_queue_send/recv.
func queues(ctx context.Context, c *tsagent.Client, w io.Writer) error {
	a, b, err := pair(ctx, c)
	if err != nil {
		return err
	}
	q := tsocket.NewQueue("lines")
	defer q.Close()
	var last *tsocket.Request[int64]
	for _, text := range []string{"first\n", "second\n", "third\n"} {
		last = q.WritevSend(ctx, a, []byte(text)) // none is EBUSY: they wait for each other
	}
	got := make([]byte, len("first\nsecond\nthird\n"))
	if _, err := b.Readv(ctx, got); err != nil {
		return err
	}
	if _, err := last.Wait(ctx); err != nil {
		return err
	}
	fmt.Fprintf(w, "  %s\n", bytes.Join(bytes.Fields(got), []byte(", ")))
	_, _ = a.Close(), b.Close()
	return nil
}
