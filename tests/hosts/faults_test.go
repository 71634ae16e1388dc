//go:build linux

package hosts

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
)

var id1 = cbid.Make(0x200, 1)

// TestThreeHostsAndOneServer: everything that may happen to a site whose NATS server is another host.
func TestThreeHostsAndOneServer(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.start(3)
	a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]

	t.Run("an agent of one host is called from the others", func(t *testing.T) {
		require.NoError(t, b.register(id1))
		for _, h := range w.hosts {
			who, err := ask(h.endpoint(), id1)
			require.NoError(t, err)
			assert.Equal(t, "host2", who)
		}
		err := c.register(id1)
		require.ErrorIs(t, err, connector.ErrDuplicate)
		assert.ErrorContains(t, err, "host2")
	})

	t.Run("the NATS server is killed and comes back", func(t *testing.T) {
		uni, multi := unicast(t, a, b), multicast(t, a, c)
		uni.passes(50)
		multi.passes(50)
		w.server.kill()
		w.serve()
		uni.passes(200)
		multi.passes(200)
		uni.end("unicast over the death of the NATS server", true)
		multi.end("group over the death of the NATS server", false)
		who, err := ask(a.endpoint(), id1)
		require.NoError(t, err)
		assert.Equal(t, "host2", who)
	})

	t.Run("a host is cut off for less than a lease", func(t *testing.T) {
		w.settled()
		seen := watch(t, a, id1)
		seen.until(connector.ChangeMarker)
		uni, multi := unicast(t, a, b), multicast(t, a, b)
		uni.passes(50)
		w.link(b.n, false)
		seen.until(connector.ChangeUnknown)
		w.link(b.n, true)
		seen.until(connector.ChangeAdded)
		uni.passes(100)
		multi.passes(100)
		// What waited for room when the sender gave up is the sender's to know.
		uni.end("unicast over a short partition", false)
		multi.end("group over a short partition", false)
	})

	t.Run("a host is cut off for longer, and its id is taken", func(t *testing.T) {
		w.settled()
		seen := watch(t, a, id1)
		seen.until(connector.ChangeMarker)
		uni := unicast(t, a, b)
		uni.passes(50)
		w.link(b.n, false)
		cut := time.Now()
		assert.Equal(t, connector.ChangeUnknown, seen.until(connector.ChangeUnknown, connector.ChangeRemoved), "first unknown")
		seen.until(connector.ChangeRemoved)
		t.Logf("gone after %v, of a lease of %v", time.Since(cut).Round(time.Millisecond), lease)
		_, err := ask(a.endpoint(), id1)
		require.ErrorIs(t, err, connector.ErrNoID)
		// The store ends leases when it gets to it.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for err = c.register(id1); err != nil; err = c.register(id1) {
			require.ErrorIs(t, err, connector.ErrDuplicate)
			w.pause(ctx, "the id may be taken")
		}
		w.link(b.n, true)
		ep := b.endpoint()
		for {
			who, err := ask(b.endpoint(), cbid.Make(0x200, 1))
			if err == nil && who == "host3" {
				break
			}
			w.pause(ctx, "the old owner's host asks the new one: "+who)
			if who == "host2" {
				break // its agent serves its own host on: the registration is the host's alone now
			}
		}
		require.NoError(t, ep.Close())
		who, err := ask(a.endpoint(), id1)
		require.NoError(t, err)
		assert.Equal(t, "host3", who)
		uni.end("unicast over a long partition", false)
	})

	t.Run("a broker is killed and comes back", func(t *testing.T) {
		w.settled()
		seen := watch(t, a, id1)
		seen.until(connector.ChangeMarker)
		uni := unicast(t, a, b)
		uni.passes(50)
		c.broker.kill()
		seen.until(connector.ChangeRemoved)
		uni.passes(50)
		uni.end("unicast between two others over the death of a broker", true)
		c.broker = play(w.t, "broker", c.cfg, c.ns)
		w.settled()
		require.NoError(t, b.register(cbid.Make(0x200, 2)))
		who, err := ask(c.endpoint(), cbid.Make(0x200, 2))
		require.NoError(t, err)
		assert.Equal(t, "host2", who)
	})
}

// TestThreeServersWithin: three brokers with NATS servers of their own; one of them goes with its host, and the two
// others are a majority.
func TestThreeServersWithin(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		h := w.add()
		h.cfg.URL, h.cfg.Replicas = "", 3
		h.cfg.Embedded = w.embedded(h.n)
	}
	for _, h := range w.hosts {
		h.begin()
	}
	for _, h := range w.hosts {
		h.broker.ready()
	}
	a, b, c := w.hosts[0], w.hosts[1], w.hosts[2]
	require.NoError(t, b.register(id1))
	who, err := ask(a.endpoint(), id1)
	require.NoError(t, err)
	assert.Equal(t, "host2", who)

	uni := unicast(t, a, b)
	uni.passes(50)
	c.broker.kill()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for err = a.register(cbid.Make(0x200, 3)); err != nil; err = a.register(cbid.Make(0x200, 3)) {
		require.NotErrorIs(t, err, connector.ErrDuplicate)
		w.pause(ctx, "the two that are left register: "+err.Error())
	}
	who, err = ask(b.endpoint(), cbid.Make(0x200, 3))
	require.NoError(t, err)
	assert.Equal(t, "host1", who)
	uni.passes(50)
	uni.end("unicast between two of three over the death of the third", true)
}
