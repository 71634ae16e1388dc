// Command afs-vl talks to the volume location servers of AFS, or is one:
//
//	afs-vl list ADDRESS             lists the volumes that a vlserver knows
//	afs-vl servers ADDRESS          lists the file servers that it knows
//	afs-vl serve ADDRESS            serves VL, PR and BOZO, with a few volumes for show,
//	                                so that vos, pts, bos and udebug have somebody to ask
//
// An ADDRESS is an IPv4 address; servers of AFS have fixed ports.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/examples/afs-vl/afs"
	"github.com/cnbus/cnbus/examples/afs-vl/afsrx"
	"github.com/cnbus/cnbus/rxrpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "afs-vl:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: afs-vl list|servers|serve ADDRESS")
	}
	addr, err := netip.ParseAddr(args[1])
	if err != nil {
		return err
	}
	switch args[0] {
	case "list":
		return ask(ctx, out, addr, list)
	case "servers":
		return ask(ctx, out, addr, servers)
	case "serve":
		return serve(ctx, out, addr)
	}
	return fmt.Errorf("no command %q", args[0])
}

// ask makes a client, and has f make its calls.
func ask(ctx context.Context, out io.Writer, addr netip.Addr, f func(context.Context, io.Writer, *rxrpc.Client) error) error {
	c, err := rxrpc.Dial(netip.AddrPortFrom(addr, afs.VLPort).String(), nil)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return f(ctx, out, c)
}

// list asks for the volumes, as many at a time as the server likes to give.
func list(ctx context.Context, out io.Writer, c *rxrpc.Client) error {
	for next := int32(0); next >= 0; {
		r, err := afsrx.Call[afs.ListN2Result](ctx, c, afs.VLService, afs.VLListAttributesN2, afs.ListN2Args{Start: next})
		if err != nil {
			return err
		}
		for _, e := range r.Entries {
			fmt.Fprintf(out, "%-24s %d", e.Name, e.VolumeID[afs.ReadWrite])
			for i := range min(int(e.Sites), len(e.Server)) {
				fmt.Fprintf(out, "  %s /vicep%c %s", afs.Addr(e.Server[i]), 'a'+rune(e.Partition[i]%26), kind(e.SiteFlags[i]))
			}
			fmt.Fprintln(out)
		}
		next = r.Next
	}
	return nil
}

func kind(flags int32) string {
	if flags&afs.SiteReadWrite != 0 {
		return "RW"
	}
	return "RO"
}

// servers asks for the addresses of each file server in turn.
func servers(ctx context.Context, out io.Writer, c *rxrpc.Client) error {
	all, err := afsrx.Call[afs.GetAddrsResult](ctx, c, afs.VLService, afs.VLGetAddrs, afs.GetAddrsArgs{})
	if err != nil {
		return err
	}
	for i, found := int32(1), int32(0); found < all.Count; i++ {
		r, err := afsrx.Call[afs.GetAddrsUResult](ctx, c, afs.VLService, afs.VLGetAddrsU, afs.AddrQuery{Mask: afs.KnownIndex, Index: i})
		if errors.Is(err, rxrpc.Abort(int32(afs.VLNoEntry))) {
			continue // there was one, once
		}
		if err != nil {
			return err
		}
		found++
		for _, a := range r.Addrs {
			fmt.Fprint(out, afs.Addr(a), " ")
		}
		fmt.Fprintln(out)
	}
	return nil
}
