// Command ts-echo is an echo server: every connection is a chain of callbacks,
// each starting the next operation. With -connect it is the client.
//
//	ts-echo -listen 127.0.0.1:7007 &
//	echo hello | ts-echo -connect 127.0.0.1:7007
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/cnbus/cnbus/tsocket"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7007", "`address` to listen on")
	connect := flag.String("connect", "", "`address` to connect to: be the client")
	flag.Parse()
	ctx := context.Background()
	var err error
	if *connect != "" {
		err = client(ctx, *connect, os.Stdin, os.Stdout)
	} else {
		err = listenAndServe(ctx, *listen)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func listenAndServe(ctx context.Context, at string) error {
	addr, err := tsocket.ParseHostPort("ip", at, 7007)
	if err != nil {
		return err
	}
	l, err := tsocket.ListenTCP(addr, nil)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "listening on", l.Addr())
	return serve(ctx, l)
}

// serve accepts until the listener is closed.
func serve(ctx context.Context, l *tsocket.Listener) error {
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		c := &conn{s: s}
		c.read()
	}
}

// conn echoes. Nothing of it runs at the same time: each callback comes when the
// operation before it is finished.
type conn struct {
	s   *tsocket.Stream
	buf [4096]byte
}

func (c *conn) read() {
	c.s.ReadSomeSend(context.Background(), c.buf[:]).OnDone(c.write)
}

func (c *conn) write(r *tsocket.Request[int]) {
	n, err := r.Result()
	if err != nil { // never read on after an error: it is there to stay
		c.close(err)
		return
	}
	c.s.WritevSend(context.Background(), c.buf[:n]).OnDone(func(r *tsocket.Request[int64]) {
		if _, err := r.Result(); err != nil {
			c.close(err)
			return
		}
		c.read()
	})
}

func (c *conn) close(err error) {
	if !errors.Is(err, io.EOF) {
		log.Print(c.s.RemoteAddr(), ": ", err)
	}
	_ = c.s.Close()
}

// client sends what it reads and prints what comes back.
func client(ctx context.Context, to string, in io.Reader, out io.Writer) error {
	addr, err := tsocket.ParseHostPort("ip", to, 7007)
	if err != nil {
		return err
	}
	s, err := tsocket.DialTCP(ctx, tsocket.Addr{}, addr)
	if err != nil {
		return err
	}
	defer s.Close()
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := s.Writev(ctx, buf[:n]); err != nil {
				return err
			}
			if _, err := s.Readv(ctx, buf[:n]); err != nil {
				return err
			}
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}
