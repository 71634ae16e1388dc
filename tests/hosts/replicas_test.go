//go:build linux

package hosts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

// spread waits until every stream of the site is on so many servers, all of which have all of it, and returns the server that
// leads the one with the leases.
func (w *world) spread(url string, servers int) (leader string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.Timeout(patience))
	require.NoError(w.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(w.t, err)
	for {
		once, end := context.WithTimeout(ctx, 3*time.Second)
		there, wrong := 0, ""
		list := js.ListStreams(once)
		for s := range list.Info() {
			there++
			have := 0
			if s.Cluster != nil {
				if s.Cluster.Leader != "" {
					have++
				}
				for _, r := range s.Cluster.Replicas {
					if r.Current && !r.Offline {
						have++
					}
				}
			}
			if s.Config.Replicas != servers || have != servers {
				wrong += fmt.Sprintf("%s is to be on %d servers, and is on %d; ", s.Config.Name, s.Config.Replicas, have)
			}
			if strings.HasSuffix(s.Config.Name, "_hosts") {
				leader = s.Cluster.Leader
			}
		}
		err := list.Err()
		end()
		if err == nil && there == 2+len(w.streams) && wrong == "" && leader != "" {
			return leader
		}
		w.pause(ctx, fmt.Sprintf("the store is on %d servers: %d streams, %v: %s", servers, there, err, wrong))
	}
}

// TestAnyOneOfThreeMayGo, also when the store was made while there were not three, by a host that has none.
func TestAnyOneOfThreeMayGo(t *testing.T) {
	w := newWorld(t)
	for n := 1; n <= 4; n++ {
		h := w.add()
		h.cfg.Policy = durableRules
		if h.cfg.URL = "nats://" + w.addr(1) + ":4222,nats://" + w.addr(2) + ":4222,nats://" + w.addr(3) + ":4222"; n <= 3 {
			h.cfg.URL, h.cfg.Embedded = "", w.embedded(n)
		}
	}
	w.streams = []string{"stream cnbus_main_g_784"}
	c, d := w.hosts[2], w.hosts[3]
	for _, h := range []*host{w.hosts[0], w.hosts[1], d} {
		h.begin()
	}
	d.broker.ready()
	made := durable(t, d, d)
	made.passes(1)
	w.spread(w.storeURL(), 1)

	c.begin()
	for _, h := range w.hosts[:3] {
		h.broker.ready()
	}
	w.settled()
	leader := w.spread(w.storeURL(), 3)
	for _, h := range w.hosts {
		if h.cfg.Name == leader {
			h.broker.kill()
		}
	}
	w.take(d, cbid.Make(0x200, 1)) // by which the store takes writes
	made.passes(10)
	made.end("durable group over the death of the server that led the store", true)
}
