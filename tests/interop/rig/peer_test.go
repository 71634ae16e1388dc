//go:build linux

package rig_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/tests/interop/relay"
	"github.com/cnbus/cnbus/tests/interop/rig"
)

func TestPeerToPeer(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	for _, level := range []string{"null", "clear", "auth", "crypt"} {
		t.Run(level, func(t *testing.T) {
			rig.PeerMust(t, p.Addr, "-level", level, "nop")
			for _, size := range []string{"0", "1", "1411", "1412", "1413", "100000"} {
				rig.PeerMust(t, p.Addr, "-level", level, "-size", size, "echo")
			}
			for _, op := range []string{"sink", "source"} {
				c := rig.PeerMust(t, p.Addr, "-level", level, "-bytes 3000000 -verify", op)
				assert.Positive(t, c.Fields["MBps"], c.Out)
			}
			c := rig.PeerMust(t, p.Addr, "-level", level, "-threads 8 -secs 0 calls")
			assert.GreaterOrEqual(t, c.Fields["calls"], 8.0, c.Out)
		})
	}
	assert.EqualValues(t, 4711, rig.PeerClient(t, p.Addr, "fail 4711").Code)
	assert.EqualValues(t, 555, rig.PeerClient(t, p.Addr, "-bytes 20000 sourcefail 555").Code)
	assert.EqualValues(t, 19270408, rig.PeerClient(t, p.Addr, "-level crypt -kvno 4 nop").Code)
	c := rig.PeerMust(t, p.Addr, "-level crypt -name joe whoami")
	assert.Contains(t, c.Out, "level 2 kvno 3")
	assert.Contains(t, c.Out, "name 'joe'")
	assert.Contains(t, rig.RxDebug(t, p.Addr, "-version"), "AFS version")
}

// Five percent of what either side sends is lost, and nothing of it is missing.
func TestPeerUnderLoss(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{}, "-dropsend 5 -seed 7")
	rig.PeerMust(t, p.Addr, "-dropsend 5 -seed 3 -bytes 200000 -verify source")
	rig.PeerMust(t, p.Addr, "-dropsend 5 -seed 5 -bytes 200000 -verify sink")
}

// OpenAFS's library gets everything through a bad network.
func TestPeerThroughRelay(t *testing.T) {
	p := rig.Peer(t, netip.AddrPort{})
	bad := relay.Path{Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Duplicate: 0.01, Reorder: 0.01}
	r := rig.Relay(t, relay.Config{Target: p.Addr, Up: bad, Down: bad, Seed: 1})
	rig.PeerMust(t, r.Addr(), "-bytes 300000 -verify source")
	rig.PeerMust(t, r.Addr(), "-level crypt -bytes 300000 -verify sink")
	up, down := r.Stats()
	assert.Positive(t, up.Lost)
	assert.Positive(t, down.Lost)
	assert.Positive(t, up.Duplicated+down.Duplicated)
}
