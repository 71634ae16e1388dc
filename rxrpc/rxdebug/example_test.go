package rxdebug_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/cnbus/cnbus/rxrpc/rxdebug"
)

// How busy is a file server, and with whom?
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c, err := rxdebug.Dial(netip.MustParseAddrPort("192.0.2.1:7000"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	stats, err := c.Stats(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Waiting, "calls wait,", stats.IdleThreads, "threads are idle")
	for conn, err := range c.Conns(ctx, false) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(conn.Peer, conn.Calls[0].State)
	}
}
