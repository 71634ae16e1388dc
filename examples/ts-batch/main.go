// Command ts-batch receives datagrams, many with one system call, and counts
// them by sender.
//
//	ts-batch -listen 127.0.0.1:7008 -count 1000
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/signal"
	"slices"

	"github.com/cnbus/cnbus/tsocket"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7008", "`address` to receive at")
	count := flag.Int("count", 0, "end after that many datagrams; 0: when interrupted")
	flag.Parse()
	addr, err := tsocket.ParseHostPort("ip", *listen, 7008)
	if err != nil {
		log.Fatal(err)
	}
	d, err := tsocket.UDP(addr, tsocket.Addr{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	totals, calls, err := receive(ctx, d, *count)
	report(os.Stdout, totals, calls)
	if err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

// total is what one sender has sent.
type total struct{ datagrams, bytes int }

// receive counts until there are enough datagrams, or ctx ends.
func receive(ctx context.Context, d *tsocket.Dgram, count int) (map[tsocket.Addr]total, int, error) {
	d.EnableGRO() // where the system can; the datagrams are the same
	// Without Buf, Data is borrowed from the socket until the next call.
	msgs := make([]tsocket.Message, 64)
	totals := make(map[tsocket.Addr]total)
	all, calls := 0, 0
	for count == 0 || all < count {
		n, err := d.RecvBatch(ctx, msgs)
		if err != nil {
			return totals, calls, err
		}
		calls++
		for _, m := range msgs[:n] {
			t := totals[m.Addr]
			t.datagrams++
			t.bytes += len(m.Data)
			totals[m.Addr] = t
		}
		all += n
	}
	return totals, calls, nil
}

func report(w io.Writer, totals map[tsocket.Addr]total, calls int) {
	senders := slices.SortedFunc(maps.Keys(totals), func(a, b tsocket.Addr) int {
		return cmp.Compare(totals[b].datagrams, totals[a].datagrams)
	})
	for _, a := range senders {
		fmt.Fprintf(w, "%v\t%d datagrams\t%d bytes\n", a, totals[a].datagrams, totals[a].bytes)
	}
	fmt.Fprintf(w, "%d calls\n", calls)
}
