package natsbridge

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
)

// load is what a site of so many hosts costs each of them while nothing happens but that it is there.
type load struct {
	hosts              int
	out, in, bytes     float64 // packets and bytes a second and host
	store              float64 // operations on the store a second and host
	memory             float64 // bytes of a core
	joined, joinedSize float64 // packets and bytes that a host sent until all was known
}

// measure builds a site of n hosts with 100 ids and 10 groups each.
func measure(t *testing.T, n int) load {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := newSim(t, 1, n)
	s.start()
	const ids, groups = 100, 10
	for i, h := range s.hosts {
		for k := range uint32(ids) {
			h.register(cbid.Make(0x1000+uint32(i), k), false)
		}
		for g := range uint32(groups) {
			h.core.Members(0x1000+(uint32(i)+g)%uint32(n), true)
		}
		h.turn()
	}
	s.forward(10000 * ms)
	l := load{hosts: n}
	var was coreStats
	for _, h := range s.hosts {
		require.Len(t, h.ids, ids*(n-1), "host %d", h.num)
		was.PacketsOut += h.core.stats.PacketsOut
		was.PacketsIn += h.core.stats.PacketsIn
		was.BytesOut += h.core.stats.BytesOut
	}
	per := float64(n)
	l.joined, l.joinedSize = float64(was.PacketsOut)/per, float64(was.BytesOut)/per
	ops := s.ops
	const seconds = 60
	s.forward(seconds * 1000 * ms)
	var is coreStats
	for _, h := range s.hosts {
		is.PacketsOut += h.core.stats.PacketsOut
		is.PacketsIn += h.core.stats.PacketsIn
		is.BytesOut += h.core.stats.BytesOut
	}
	l.out, l.in = float64(is.PacketsOut-was.PacketsOut)/per/seconds, float64(is.PacketsIn-was.PacketsIn)/per/seconds
	l.bytes = float64(is.BytesOut-was.BytesOut) / per / seconds
	l.store = float64(s.ops-ops) / per / seconds
	s.keys, s.queue = nil, nil
	for _, h := range s.hosts {
		h.ids, h.unknown, h.granted, h.state = nil, nil, nil, nil // the model's
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	l.memory = float64(after.HeapAlloc-before.HeapAlloc) / per
	runtime.KeepAlive(s)
	return l
}

// TestWhatAHostCostsTheOthers: what a site costs by its size. The figures of docs/hosts.md for a thousand hosts are the
// slopes of these.
func TestWhatAHostCostsTheOthers(t *testing.T) {
	var last load
	for _, n := range []int{3, 10, 30} {
		if raceEnabled && n > 10 {
			break
		}
		l := measure(t, n)
		t.Logf("%d hosts: each sends %.1f packets/s (%.0f B/s) and gets %.1f/s, %.2f store operations/s, %.0f KB; to join %.0f packets, %.0f KB",
			n, l.out, l.bytes, l.in, l.store, l.memory/1024, l.joined, l.joinedSize/1024)
		assert.InDelta(t, 5.0/15, l.store, 0.1, "a renewal each fifth of the lease, however many ids there are")
		if last.hosts > 0 {
			grown := float64(n-1) / float64(last.hosts-1) // each has so many others
			assert.Less(t, l.in, 1.5*grown*last.in, "not more than in proportion")
			assert.Less(t, l.memory, 2*grown*last.memory, "not more than in proportion")
		}
		last = l
	}
}
