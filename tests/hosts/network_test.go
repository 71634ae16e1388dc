//go:build linux

package hosts

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

// farWorld is a world whose hosts have a relay between them and the NATS server.
func farWorld(t *testing.T, delay time.Duration, loss float64) (*world, *relay) {
	w := newWorld(t)
	w.serve()
	r := startRelay(t, fmt.Sprintf("%s:%d", w.addr(outside), 4222), w.addr(serverAt)+":4222", delay, loss)
	for range 3 {
		h := w.add()
		h.cfg.URL, h.cfg.Lease, h.cfg.Policy = "nats://"+r.addr(), natsbridge.DefaultLease, durableRules
	}
	w.begin()
	w.streams = []string{"stream cnbus_main_g_784"}
	return w, r
}

// traffic is of any kind.
type traffic interface{ passes(n int) }

// everyKind has traffic of each kind between three hosts. Of a durable group nothing may be lost, whatever happens.
func (w *world) everyKind(t *testing.T) (all []traffic, end func(lossless bool)) {
	a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]
	uni, multi, conf, kept := unicast(t, a, b), multicast(t, b, c), confirmed(t, c, a), durable(t, b, a, c)
	return []traffic{uni, multi, conf, kept}, func(lossless bool) {
		uni.end("unicast", true)
		multi.end("group", lossless)
		conf.end("confirmed messages", true)
		kept.end("durable group", true)
	}
}

// TestADistance: 100 ms from host to host, each way.
func TestADistance(t *testing.T) {
	w, _ := farWorld(t, 50*time.Millisecond, 0)
	w.scenario("traffic of every kind", func(t *testing.T) {
		id := cbid.Make(0x200, 1)
		require.NoError(t, w.hosts[1].register(id))
		w.registrationsAreRight()
		all, end := w.everyKind(t)
		for _, s := range all {
			s.passes(20)
		}
		end(true)
		w.hosts[0].await("the distance is measured", func(rows []natsbridge.HostRow) bool {
			for _, r := range rows[1:] {
				if r.RTT < 200*time.Millisecond {
					return false
				}
			}
			return true
		})
	})
	w.scenario("a broker is stopped and comes back", func(t *testing.T) {
		a, c := w.hosts[0], w.hosts[2]
		conf := confirmed(t, a, c)
		conf.passes(5)
		c.broker.signal(syscall.SIGTERM) // so that its name is free
		<-c.broker.done
		c.broker = play(w.root, "broker", c.cfg, c.ns)
		w.settled()
		conf.passes(5)
		conf.end("confirmed messages", false)
	})
}

// TestABadNetwork: five in a hundred segments are lost, and connections break.
func TestABadNetwork(t *testing.T) {
	w, r := farWorld(t, 2*time.Millisecond, 0.05)
	w.scenario("loss", func(t *testing.T) {
		all, end := w.everyKind(t)
		before := r.lost.Load()
		for _, s := range all {
			s.passes(5) // a confirmation takes seconds here
		}
		all[0].passes(200)
		end(true)
		assert.Greater(t, r.lost.Load(), before)
	})
	w.scenario("connections are reset", func(t *testing.T) {
		id := cbid.Make(0x200, 1)
		require.NoError(t, w.hosts[1].register(id))
		all, end := w.everyKind(t)
		for range 3 {
			for _, s := range all {
				s.passes(3)
			}
			r.reset()
		}
		for _, s := range all {
			s.passes(3)
		}
		w.registrationsAreRight()
		end(false)
	})
}
