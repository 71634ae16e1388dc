//go:build linux

package hosts

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/natsbridge"
)

const durableGroup = 0x310

// durableRules are the policy of the brokers of these tests.
const durableRules = `
[[rule]]
uid   = ["*"]
admin = true

[[history]]
group    = "0x310"
messages = 1000000
durable  = true
`

// durableTraffic is confirmed messages from one host to a durable group, and a receiver on each of some hosts.
type durableTraffic struct {
	t    testing.TB
	id   cbid.ID // of its messages
	from connector.Endpoint
	to   []*durableReceiver
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	sent   uint32
	failed map[uint32]string
}

// durableReceiver counts what one endpoint gets.
type durableReceiver struct {
	host *host
	id   cbid.ID // of the messages that count
	ep   connector.Endpoint

	mu      sync.Mutex // guards what follows
	got     map[uint32]bool
	last    uint32
	pos     uint64
	twice   int
	order   int
	lost    uint64
	unknown int
}

// durable sends from a to the group, which has receivers on the hosts.
func durable(t testing.TB, a *host, hosts ...*host) *durableTraffic {
	d := &durableTraffic{t: t, id: cbid.Make(durableGroup, agents.Add(1)), from: a.endpoint(), stop: make(chan struct{}), failed: make(map[uint32]string)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, h := range hosts {
		r := &durableReceiver{host: h, id: d.id, ep: h.endpoint(), got: make(map[uint32]bool)}
		require.NoError(t, r.ep.Join(ctx, durableGroup))
		d.to = append(d.to, r)
		go r.run()
	}
	d.wg.Go(d.run)
	return d
}

func (d *durableTraffic) run() {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		d.mu.Lock()
		d.sent++
		n := d.sent
		d.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := d.from.Send(ctx, connector.Message{ID: d.id, Seq: n, Data: make([]byte, 100)}, connector.Dest{Group: durableGroup})
		cancel()
		if err != nil {
			d.mu.Lock()
			d.failed[n] = err.Error()
			d.mu.Unlock()
		}
	}
}

// run ends when its endpoint closes.
func (r *durableReceiver) run() {
	for {
		ev, err := r.ep.Recv(context.Background())
		if err != nil {
			return
		}
		if ev.Kind == connector.EventMessage && ev.Msg.ID != r.id {
			continue
		}
		r.mu.Lock()
		switch ev.Kind {
		case connector.EventMessage:
			n := ev.Msg.Seq
			if r.got[n] {
				r.twice++
			}
			if n < r.last || ev.Pos <= r.pos {
				r.order++
			}
			r.got[n], r.last, r.pos = true, n, ev.Pos
		case connector.EventLost:
			r.lost += ev.Lost
			if ev.Unknown {
				r.unknown++
			}
		}
		r.mu.Unlock()
	}
}

// durableAt is durable traffic as some of its receivers see it.
type durableAt struct {
	*durableTraffic
	to []*durableReceiver
}

func (d *durableTraffic) on(to ...*durableReceiver) durableAt { return durableAt{d, to} }

// passes waits until each receiver has got n more.
func (d *durableTraffic) passes(n int) {
	d.t.Helper()
	d.on(d.to...).passes(n)
}

func (d durableAt) passes(n int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, r := range d.to {
		r.mu.Lock()
		want := len(r.got) + n
		r.mu.Unlock()
		d.until(ctx, func() (bool, string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.got) >= want, fmt.Sprintf("%d of %d messages at %s", len(r.got), want, r.host.cfg.Name)
		})
	}
}

func (d *durableTraffic) until(ctx context.Context, ok func() (bool, string)) {
	d.t.Helper()
	for {
		yes, what := ok()
		if yes {
			return
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			defer d.mu.Unlock()
			require.FailNow(d.t, "durable traffic", "%s; %d sent, failed %v", what, d.sent, d.failed)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// end stops the sending: every receiver must have every message that was confirmed, once, in order, and nothing may be lost. exact
// says that all were confirmed.
func (d *durableTraffic) end(what string, exact bool) {
	d.t.Helper()
	close(d.stop)
	d.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, r := range d.to {
		d.until(ctx, func() (bool, string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			missing := 0
			for n := uint32(1); n <= d.sent; n++ {
				if !r.got[n] && d.failed[n] == "" {
					missing++
				}
			}
			return missing == 0, fmt.Sprintf("%s: %d missing at %s", what, missing, r.host.cfg.Name)
		})
	}
	if exact {
		assert.Empty(d.t, d.failed, what)
	}
	d.t.Logf("%s: %d sent, %d not confirmed", what, d.sent, len(d.failed))
	for _, r := range d.to {
		assert.NoError(d.t, r.ep.Close())
		r.mu.Lock()
		text := fmt.Sprintf("%s, at %s: %d received", what, r.host.cfg.Name, len(r.got))
		assert.Zero(d.t, r.twice, "%s: received twice", text)
		assert.Zero(d.t, r.order, "%s: out of order", text)
		assert.Zero(d.t, r.lost, "%s: lost", text)
		assert.Zero(d.t, r.unknown, "%s: lost, nobody knows how many", text)
		r.mu.Unlock()
	}
	assert.NoError(d.t, d.from.Close())
}

// TestDurableGroup: whatever dies or is cut off, receivers that resume have every message, once and in order.
func TestDurableGroup(t *testing.T) {
	w := newWorld(t)
	w.serve()
	for range 3 {
		w.add().cfg.Policy = durableRules
	}
	w.begin()
	w.streams = []string{"stream cnbus_main_g_784"}
	a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]

	w.scenario("the NATS server is killed and comes back", func(t *testing.T) {
		d := durable(t, a, a, b, c)
		d.passes(100)
		for range 2 {
			w.server.kill()
			w.serve()
			d.passes(200)
		}
		d.end("durable group over the death of the NATS server", true)
	})

	w.scenario("the receiver's broker is killed and comes back", func(t *testing.T) {
		d := durable(t, a, b, c)
		d.passes(100)
		c.broker.kill()
		c.begin()
		c.broker.ready()
		d.passes(200)
		d.end("durable group over the death of a receiver's broker", true)
	})

	w.scenario("the sender's broker is killed and comes back", func(t *testing.T) {
		d := durable(t, a, a, b)
		d.passes(100)
		a.broker.kill()
		a.begin()
		a.broker.ready()
		d.passes(100)
		d.end("durable group over the death of the sender's broker", false)
	})

	for _, cut := range []struct {
		who string
		h   *host
	}{{"a receiver's host", c}, {"the sender's host", a}} {
		w.scenario(cut.who+" is cut off for longer than a lease", func(t *testing.T) {
			d := durable(t, a, b, c)
			d.passes(50)
			w.link(cut.h.n, false)
			b.await("it is gone", func(rows []natsbridge.HostRow) bool { return len(rows) == 2 || cut.h == b })
			w.link(cut.h.n, true)
			d.passes(100)
			d.end("durable group while "+cut.who+" is cut off", true)
		})
	}

	w.scenario("a receiver's host stops for a while", func(t *testing.T) {
		d := durable(t, a, b, c)
		d.passes(50)
		c.broker.signal(syscall.SIGSTOP)
		d.on(d.to[0]).passes(200)
		c.broker.signal(syscall.SIGCONT)
		d.passes(50)
		d.end("durable group while a receiver's host stops", true)
	})

	w.scenario("everything is killed and comes back", func(t *testing.T) {
		d := durable(t, a, b, c)
		d.passes(50)
		w.server.kill()
		for _, h := range w.hosts {
			h.broker.kill()
		}
		w.serve()
		w.begin()
		d.passes(100)
		d.end("durable group over the death of everything", false)
	})
}

// TestDurableGroupOfThreeServers: the stream is kept by three servers, each within a broker; each of them is killed in turn.
func TestDurableGroupOfThreeServers(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		h := w.add()
		h.cfg.URL, h.cfg.Replicas, h.cfg.Policy = "", 3, durableRules
		h.cfg.Embedded = w.embedded(h.n)
	}
	w.begin()
	w.streams = []string{"stream cnbus_main_g_784"}
	for i, h := range w.hosts {
		w.scenario(fmt.Sprintf("host %d is killed with its server", i+1), func(t *testing.T) {
			from, to := w.hosts[(i+1)%3], w.hosts[(i+2)%3]
			d := durable(t, from, from, to, h)
			d.passes(50)
			h.broker.kill()
			d.on(d.to[:2]...).passes(50)
			h.begin()
			h.broker.ready()
			d.passes(50)
			d.end("durable group over the death of one of three servers", true)
		})
	}

	w.scenario("one of three is parted from both others", func(t *testing.T) {
		a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]
		d, cut := durable(t, a, a, b, c), durable(t, b, a, b, c)
		d.passes(50)
		cut.passes(50)
		w.part(a, b)
		w.part(c, b)
		d.on(d.to[0], d.to[2]).passes(200)
		a.await("it is gone", func(rows []natsbridge.HostRow) bool { return len(rows) == 2 })
		w.heal()
		d.passes(50)
		cut.passes(50)
		d.end("durable group of the majority", true)
		cut.end("durable group of the one that was parted", true)
	})
}
