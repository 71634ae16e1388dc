// Command ts-reactor is a chat: what one client writes all the others get. All of it
// runs on one goroutine, that of a reactor, so that it needs no locks; there is no goroutine for
// a client.
//
//	ts-reactor -listen 127.0.0.1:7008 &
//	nc 127.0.0.1 7008
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/cnbus/cnbus/tsocket"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7008", "`address` to listen on")
	flag.Parse()
	if err := run(context.Background(), *listen); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, at string) error {
	addr, err := tsocket.ParseHostPort("ip", at, 7008)
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

// serve runs the chat until ctx ends.
func serve(ctx context.Context, l *tsocket.Listener) error {
	loop, err := tsocket.NewLoop(nil)
	if err != nil {
		_ = l.Close()
		return err
	}
	defer loop.Close() // and with it the listener and all clients
	c := &chat{loop: loop, clients: make(map[*client]struct{})}
	if err := loop.Attach(l); err != nil {
		return err
	}
	c.accept(l)
	if err := loop.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// chat belongs to the loop: only its callbacks use it.
type chat struct {
	loop    *tsocket.Loop
	clients map[*client]struct{}
}

func (c *chat) accept(l *tsocket.Listener) {
	l.AcceptSend(context.Background()).OnDone(func(r *tsocket.Request[*tsocket.Stream]) {
		s, err := r.Result()
		switch {
		case errors.Is(err, tsocket.ErrClosed):
			return
		case err != nil: // no descriptors, for example: others must leave first
			log.Print(err)
			c.loop.AfterFunc(100*time.Millisecond, func() { c.accept(l) })
			return
		}
		c.join(s)
		c.accept(l)
	})
}

func (c *chat) join(s *tsocket.Stream) {
	if err := c.loop.Attach(s); err != nil {
		log.Print(err)
		_ = s.Close()
		return
	}
	cl := &client{chat: c, s: s}
	c.clients[cl] = struct{}{}
	cl.read()
}

// client is one of them.
type client struct {
	chat    *chat
	s       *tsocket.Stream
	buf     [4096]byte
	waiting [][]byte // to be written
	writing bool
}

func (c *client) read() {
	c.s.ReadSomeSend(context.Background(), c.buf[:]).OnDone(func(r *tsocket.Request[int]) {
		n, err := r.Result()
		if err != nil {
			c.leave()
			return
		}
		text := append([]byte(nil), c.buf[:n]...)
		for other := range c.chat.clients {
			if other != c {
				other.write(text)
			}
		}
		c.read()
	})
}

// write gives text to the client when what was given to it before is written. One that does
// not read is sent away.
func (c *client) write(text []byte) {
	const tooMuch = 1000
	if c.waiting = append(c.waiting, text); len(c.waiting) > tooMuch {
		c.leave()
		return
	}
	if c.writing {
		return
	}
	c.writing = true
	vec := c.waiting
	c.waiting = nil
	c.s.WritevSend(context.Background(), vec...).OnDone(func(r *tsocket.Request[int64]) {
		c.writing = false
		if _, err := r.Result(); err != nil {
			c.leave()
		} else if len(c.waiting) > 0 {
			next := c.waiting
			c.waiting = next[:len(next)-1]
			c.write(next[len(next)-1])
		}
	})
}

func (c *client) leave() {
	delete(c.chat.clients, c)
	_ = c.s.Close()
}
