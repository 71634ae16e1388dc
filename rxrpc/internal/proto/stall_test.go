package proto

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A stallMeter watches the wire between two hosts for times in which no DATA arrives that was not there
// before, and holds them against what was lost meanwhile.
type stallMeter struct {
	w     *world
	rtt   time.Duration
	seen  map[string]bool
	since Time // of the last progress
	lost  int  // datagrams since then
	worst map[int]time.Duration
}

// may is how long it may take with so many datagrams lost. With none: two round trips, of which the first has
// told that something was lost before, and the time that an ACK may be kept back. For each that is lost: the
// retransmission time-out, which is 200 ms and what the peer may keep an ACK back (500 ms for the last packet of a
// request), or 1 s while nothing is known of the path, twice as long each time.
func (m *stallMeter) may() time.Duration {
	rto := 700*time.Millisecond + 2*m.rtt
	if m.unknown() {
		rto = 1500 * time.Millisecond
	}
	return 2*m.rtt + 100*time.Millisecond + rto*(1<<m.lost-1)
}

// unknown says whether one side has yet to measure the round trip.
func (m *stallMeter) unknown() bool {
	for _, h := range m.w.hosts {
		for _, p := range h.peers {
			if p.path.Samples() == 0 {
				return true
			}
		}
	}
	return false
}

func (m *stallMeter) datagram(from netip.AddrPort, b []byte, passes bool) {
	if !passes {
		m.lost++
		return
	}
	h, body, err := wire.ParseHeader(b)
	require.NoError(m.w.t, err)
	if h.Type != wire.TypeData {
		return
	}
	fresh := false
	for seq := h.Seq; ; seq++ { // all of a jumbo datagram
		k := fmt.Sprint(from, h.CID, h.Call, seq)
		fresh = fresh || !m.seen[k]
		m.seen[k] = true
		if h.Flags&wire.JumboPacket == 0 {
			break
		}
		h.Flags, body = wire.Flags(body[wire.JumboData]), body[wire.JumboData+wire.JumboHeaderSize:]
	}
	if fresh {
		m.progress()
	}
}

func (m *stallMeter) progress() {
	took := m.w.now.Sub(m.since)
	m.worst[m.lost] = max(m.worst[m.lost], took)
	assert.LessOrEqual(m.w.t, took, m.may(), "%d datagrams lost", m.lost)
	m.since, m.lost = m.w.now, 0
}

// TestNoStallLongerThanTheTimeouts: whatever is lost, data goes on as soon as the retransmission time-outs say.
func TestNoStallLongerThanTheTimeouts(t *testing.T) {
	for _, loss := range []int{1, 10, 20} {
		for _, rtt := range []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
			t.Run(fmt.Sprintf("%d %% lost, %v", loss, rtt), func(t *testing.T) {
				worst := map[int]time.Duration{}
				for seed := range uint64(10) {
					w, client, _, _ := pair(t, Config{}, Config{})
					w.delay = rtt / 2
					r := rand.New(rand.NewPCG(seed, 7))
					m := &stallMeter{w: w, rtt: rtt, seen: map[string]bool{}, worst: worst}
					w.onWire = func(from, _ netip.AddrPort, b []byte) bool {
						passes := r.IntN(100) >= loss
						m.datagram(from, b, passes)
						return passes
					}
					m.since = w.now
					for _, size := range []int{4, 100_000, 1, 30_000} {
						c := client.call(CallParams{}, pattern(size))
						w.until(10*time.Minute, func() bool { return c.ended })
						m.progress()
						require.Equal(t, Result{Completion: Succeeded}, c.result)
						require.True(t, bytes.Equal(pattern(size), c.got))
					}
				}
				t.Logf("longest, by datagrams lost meanwhile: %v", worst)
			})
		}
	}
}
