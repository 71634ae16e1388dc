package procevent_test

import (
	"context"
	"fmt"
	"log"

	"github.com/cnbus/cnbus/connector/procevent"
)

// The programs that are started on this host, until the program is interrupted.
func ExampleDial() {
	ctx := context.Background()
	c, err := procevent.Dial(ctx, &procevent.Config{
		Kinds:  procevent.MaskOf(procevent.Exec),
		Enrich: procevent.EnrichExe,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	defer procevent.CloseOnSignal(c)()
	for {
		e, err := c.Recv(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		switch {
		case e.Kind == procevent.Lost:
			fmt.Println(e.Count, "events are missing here")
		case e.Info != nil:
			fmt.Println(e.Tgid, e.Info.Exe)
		}
	}
}
