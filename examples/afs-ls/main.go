// Command afs-ls lists the volumes of an AFS cell, by asking a volume location server:
//
//	afs-ls 192.0.2.1
//	afs-ls -v 192.0.2.1:7003
//
// It opens no socket but the broker's. The RxRPC agent makes its calls: cnbus serve must be running, and its policy let this
// user call the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc/rxagent/rxclient"
)

// patience is how long the server has for each answer.
const patience = 30 * time.Second

func main() {
	socket := flag.String("socket", "", "`path` of the broker's socket; default as docs/protocol.md says")
	sites := flag.Bool("v", false, "say where each volume is, too")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: afs-ls [-v] [-socket PATH] ADDRESS[:PORT]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *socket, flag.Args(), *sites); err != nil {
		fmt.Fprintln(os.Stderr, "afs-ls:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket string, args []string, sites bool) error {
	server, err := serverOf(args)
	if err != nil {
		return err
	}
	bus, err := client.Dial(ctx, &client.Config{Socket: socket, Name: "afs-ls"})
	if err != nil {
		return err
	}
	defer bus.Close()
	return list(ctx, bus, os.Stdout, server, sites)
}

// serverOf reads the arguments. A server without a port is at that of vlservers.
func serverOf(args []string) (netip.AddrPort, error) {
	if len(args) != 1 {
		return netip.AddrPort{}, errors.New("the address of one server is wanted")
	}
	if ip, err := netip.ParseAddr(args[0]); err == nil {
		return netip.AddrPortFrom(ip, afs.VLPort), nil
	}
	return netip.ParseAddrPort(args[0])
}

// list asks for the volumes, as many at a time as the server likes to give.
func list(ctx context.Context, bus connector.Bus, out io.Writer, server netip.AddrPort, sites bool) error {
	conn, err := rxclient.Dial(ctx, bus, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	c, err := conn.Dial(server.String(), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for next := int32(0); next >= 0; {
		ctx, cancel := context.WithTimeout(ctx, patience)
		r, err := afsrx.Call[afs.ListN2Result](ctx, c, afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{Start: next})
		cancel()
		if err != nil {
			return err
		}
		for i := range r.Entries {
			volume(w, &r.Entries[i], sites)
		}
		next = r.Next
	}
	return w.Flush()
}

// volume writes a line about a volume: its numbers, read-write, read-only and backup, and where it is.
func volume(w io.Writer, e *afs.VolumeEntry, sites bool) {
	fmt.Fprintf(w, "%s\t%d\t%d\t%d", e.Name, e.VolumeID[afs.ReadWrite], e.VolumeID[afs.ReadOnly], e.VolumeID[afs.Backup])
	for i := range min(int(e.Sites), len(e.Server)) {
		if !sites {
			break
		}
		kind := "RO"
		if e.SiteFlags[i]&afs.SiteReadWrite != 0 {
			kind = "RW"
		}
		fmt.Fprintf(w, "\t%s %s/vicep%c", kind, afs.Addr(e.Server[i]), 'a'+rune(e.Partition[i]%26))
	}
	fmt.Fprintln(w)
}
