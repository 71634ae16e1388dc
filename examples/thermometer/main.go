// Command thermometer is the agent of docs/agent.md: it tells a group the
// temperature while somebody listens, and answers who asks for it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/client"
)

var id = cbid.Make(0x2000, 1) // group 0x2000 is ours with it

type thermometer struct {
	listening atomic.Bool
}

// Handle answers a request with the temperature.
func (t *thermometer) Handle(ctx context.Context, d *connector.Delivery) {
	if err := d.Reply(ctx, reading()); err != nil {
		log.Printf("port %d: %v", d.From.Port, err)
	}
}

// Interest is called when the group gets its first member and when it loses
// its last one.
func (t *thermometer) Interest(_ context.Context, _ uint32, listening bool) {
	t.listening.Store(listening)
}

func reading() []byte { return fmt.Appendf(nil, "%.1f °C", 20+float64(time.Now().Unix()%50)/10) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	bus, err := client.Dial(ctx, &client.Config{Name: "thermometer"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	var t thermometer
	if err := bus.AddCallback(ctx, id, "thermometer", &t); err != nil {
		log.Fatal(err) // "id is already registered": another thermometer runs
	}
	// Who was away for a while gets the last hundred readings when it resumes.
	if err := bus.SetHistory(ctx, id.Idx, connector.History{Messages: 100}); err != nil {
		log.Fatal(err)
	}
	for tick := time.Tick(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			if t.listening.Load() {
				if err := bus.Post(ctx, connector.Message{ID: id, Data: reading()}, connector.Dest{Group: id.Idx}); err != nil && ctx.Err() == nil {
					log.Print(err)
				}
			}
		}
	}
}
