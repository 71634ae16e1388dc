// Command rx-klog gets a ticket for a cell with the user's credential cache, and makes a call with it, encrypted:
//
//	rx-klog CELL ADDRESS:PORT SERVICE TEXT
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/rxrpc/klog"
	"github.com/cnbus/cnbus/rxrpc/rxkad"
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("usage: rx-klog CELL ADDRESS:PORT SERVICE TEXT")
	}
	service, err := strconv.ParseUint(os.Args[3], 10, 16)
	if err == nil {
		err = run(context.Background(), os.Stdout, klog.Config{Cell: os.Args[1]}, os.Args[2], uint16(service), os.Args[4])
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer, cfg klog.Config, at string, service uint16, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cred, err := klog.Get(ctx, cfg)
	if err != nil {
		return err
	}
	defer cred.Wipe()
	fmt.Fprintln(out, cred.Client, "for", cred.Service)
	security, err := rxkad.NewClient(cred.Token, rxkad.Encrypt)
	if err != nil {
		return err
	}
	c, err := rxrpc.Dial(at, &rxrpc.ClientConfig{Security: security})
	if err != nil {
		return err
	}
	defer c.Close()
	reply, err := c.Call(ctx, service, []byte(text))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", reply)
	return nil
}
