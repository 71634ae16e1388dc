// Command bus-http is a web server whose listener is an id of the bus instead of a TCP port, and its client. There is no port
// to be chosen or to be reached from outside, and the server knows who asks, because the kernel says so.
//
//	bus-http -serve 0x7001:1 -dir . &
//	bus-http http://0x7001:1/README.md
//	bus-http http://0x7001:1/whoami
//
// The broker, cnbus serve, must be running.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/tsocket"
	"github.com/cnbus/cnbus/tsocket/tsagent/bussock"
)

func main() {
	serveAt := flag.String("serve", "", "`id` to serve at: idx:val")
	dir := flag.String("dir", ".", "`directory` to serve")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *serveAt, *dir, flag.Args(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, serveAt, dir string, urls []string, out io.Writer) error {
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
	if serveAt != "" {
		return serve(ctx, node, serveAt, dir)
	}
	return get(ctx, node, urls, out)
}

func serve(ctx context.Context, node *bussock.Node, at, dir string) error {
	id, err := cbid.Parse(at)
	if err != nil {
		return err
	}
	l, err := node.Listen(ctx, id, &bussock.ListenConfig{Name: "bus-http"})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(dir)))
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		if who, ok := r.Context().Value(credKey{}).(tsocket.Cred); ok {
			fmt.Fprintf(w, "uid %d, pid %d\n", who.UID, who.PID)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ConnContext: withCred}
	defer context.AfterFunc(ctx, func() {
		patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = srv.Shutdown(patience)
	})()
	if err := srv.Serve(bussock.AsNetListener(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type credKey struct{}

// withCred notes who has connected.
func withCred(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(interface{ PeerCred() (tsocket.Cred, error) }); ok {
		if who, err := p.PeerCred(); err == nil {
			return context.WithValue(ctx, credKey{}, who)
		}
	}
	return ctx
}

// get prints what the URLs lead to. The host and port of a URL are the idx and val of an id.
func get(ctx context.Context, node *bussock.Node, urls []string, out io.Writer) error {
	t := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		id, err := cbid.Parse(addr)
		if err != nil {
			return nil, err
		}
		s, err := node.Dial(ctx, id)
		if err != nil {
			return nil, err
		}
		return tsocket.AsNetConn(s), nil
	}}
	defer t.CloseIdleConnections()
	c := &http.Client{Transport: t}
	for _, url := range urls {
		if err := fetch(ctx, c, url, out); err != nil {
			return err
		}
	}
	return nil
}

func fetch(ctx context.Context, c *http.Client, url string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := c.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, r.Status)
	}
	_, err = io.Copy(out, r.Body)
	return err
}
