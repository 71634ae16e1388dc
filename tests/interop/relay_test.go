//go:build linux

package interop

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc"
	"github.com/cnbus/cnbus/tests/interop/relay"
	"github.com/cnbus/cnbus/tests/interop/rig"
	"github.com/cnbus/cnbus/tests/interop/rxp"
)

// badNetworks are what calls have to get through, each in both directions.
var badNetworks = []struct {
	name  string
	path  relay.Path
	bytes uint64 // of a bulk call
	happy func(up, down relay.Stats) bool
}{
	{"1% lost", relay.Path{Loss: 0.01}, 1_000_000, lost},
	{"10% lost", relay.Path{Loss: 0.10}, 60_000, lost},
	{"reordered", relay.Path{Reorder: 0.1, ReorderBy: 3 * time.Millisecond}, 1_000_000, func(up, down relay.Stats) bool { return up.Reordered > 0 && down.Reordered > 0 }},
	{"doubled", relay.Path{Duplicate: 0.2}, 1_000_000, func(up, down relay.Stats) bool { return up.Duplicated > 0 && down.Duplicated > 0 }},
	{"10 ms each way", relay.Path{Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond}, 1_000_000, passed},
	{"small packets only", relay.Path{MTU: 1300}, 500_000, passed},
	{"everything", relay.Path{
		Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.02, Reorder: 0.02, Duplicate: 0.02,
	}, 300_000, lost},
}

func lost(up, down relay.Stats) bool   { return up.Lost > 0 && down.Lost > 0 }
func passed(up, down relay.Stats) bool { return up.Sent > 0 && down.Sent > 0 }

// TestOurClientThroughBadNetworks calls OpenAFS's library.
func TestOurClientThroughBadNetworks(t *testing.T) {
	for i, n := range badNetworks {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			// What is larger than the path takes OpenAFS sends all the same.
			p := rig.Peer(t, netip.AddrPort{}, peerMTU(n.path))
			r := rig.Relay(t, relay.Config{Target: p.Addr, Up: n.path, Down: n.path, Seed: uint64(i + 1)})
			c := dial(t, r.Addr(), nil)
			for range 50 {
				_, err := c.Do(soon(t), rxp.Nop, 7)
				require.NoError(t, err)
			}
			require.NoError(t, c.Echo(soon(t), make([]byte, 30000)))
			require.NoError(t, c.Sink(soon(t), n.bytes, true))
			require.NoError(t, c.Source(soon(t), n.bytes, true))
			_, err := c.Do(soon(t), rxp.Fail, 4711)
			require.ErrorIs(t, err, rxrpc.Abort(4711))
			up, down := r.Stats()
			assert.True(t, n.happy(up, down), "up %+v down %+v", up, down)
			drain(t, c.Endpoint())
		})
	}
}

// TestOurServerThroughBadNetworks is called by OpenAFS's library.
func TestOurServerThroughBadNetworks(t *testing.T) {
	for i, n := range badNetworks {
		t.Run(n.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, loopback, nil)
			r := rig.Relay(t, relay.Config{Target: s.Endpoint().LocalAddr(), Up: n.path, Down: n.path, Seed: uint64(i + 1)})
			mtu := peerMTU(n.path)
			rig.PeerMust(t, r.Addr(), mtu, "-threads 4 -secs 1 calls")
			rig.PeerMust(t, r.Addr(), mtu, "-size 30000 echo")
			rig.PeerMust(t, r.Addr(), mtu, "-verify -bytes", decimal(int(n.bytes)), "sink")
			rig.PeerMust(t, r.Addr(), mtu, "-verify -bytes", decimal(int(n.bytes)), "source")
			up, down := r.Stats()
			assert.True(t, n.happy(up, down), "up %+v down %+v", up, down)
		})
	}
}

// peerMTU tells rxpeer what it cannot find out: it learns the path's MTU from
// nobody, and sends datagrams of 1444 bytes and more unless it is told.
func peerMTU(p relay.Path) string {
	if p.MTU == 0 {
		return ""
	}
	return "-nojumbo -mtu " + decimal(p.MTU)
}

// TestRebinding changes the client's port at the server again and again. OpenAFS
// sends its replies where the connection began: calls that are cut off so fail in
// time, and later ones, on a fresh connection, succeed.
func TestRebinding(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	r := rig.Relay(t, relay.Config{Target: p.Addr})
	c := dial(t, r.Addr(), &rxrpc.Config{Timers: rxrpc.Timers{HeardNothing: 8e9}})
	good := 0
	for range 5 {
		if _, err := c.Do(soon(t), rxp.Nop, 1); err == nil {
			good++
		}
		require.NoError(t, r.Rebind())
	}
	assert.Positive(t, good)
	_, err := c.Do(soon(t), rxp.Nop, 1)
	if err != nil { // the connection of before is not known under the new port
		_, err = c.Do(soon(t), rxp.Nop, 1)
	}
	require.NoError(t, err)
	drain(t, c.Endpoint())
}
