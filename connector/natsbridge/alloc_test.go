package natsbridge

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// sink takes packets and counts them.
type sink struct {
	n     int
	keeps bool
}

func (s *sink) Packet(subject, []byte) bool  { s.n++; return !s.keeps }
func (s *sink) Listen(uint32, bool)          {}
func (s *sink) Store(storeOp)                {}
func (s *sink) Stream(streamOp)              {}
func (s *sink) Follow(_ uint32, _, _ uint64) {}
func (s *sink) Soon()                        {}
func (s *sink) Wake(int64)                   {}

// TestPacketsNeedNoMemory: whatever a turn of the loop has for a host or a group goes in one packet, for which nothing is allocated; while
// NATS does not take it at once, its memory is all that is.
func TestPacketsNeedNoMemory(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates too: only that it works is seen")
	}
	for _, keeps := range []bool{false, true} {
		out := sink{keeps: keeps}
		now := int64(time.Hour)
		c := newCore(coreConfig{host: 1, name: "one", run: 1, first: 1, lease: int64(DefaultLease), clock: func() int64 { return now }, log: slog.New(slog.DiscardHandler)}, nil, &out)
		p := c.newPeer(2, 5)
		c.Flush()
		p.link.acked(p.link.last, now)
		m := connector.Message{ID: cbid.Make(0x200, 1), Data: make([]byte, 128)}
		fr, err := m.AppendNative(make([]byte, frame.HeaderLen), 0)
		assert.NoError(t, err)
		hd := frame.Header{Type: frame.Send, Len: uint32(len(fr)), Group: 0x200}
		hd.Put(fr)
		for name, send := range map[string]func(){
			"group":   func() { c.Publish(0x200, connector.SitePort(1, 7), connector.Cred{}, fr) },
			"unicast": func() { c.Forward(2, connector.SitePort(1, 7), connector.Cred{}, fr) },
		} {
			for _, messages := range []int{1, 100} {
				turn := func() {
					for range messages {
						send()
					}
					c.Flush()
					p.link.acked(p.link.last, now)
					if f := p.flows[connector.SitePort(1, 7)]; f != nil {
						f.consumed(messages * len(fr))
					}
				}
				turn()
				turn()
				was := out.n
				allocs := testing.AllocsPerRun(100, turn)
				assert.Equal(t, 101, out.n-was, "%s: a packet for each turn", name)
				most := 0.0
				if keeps {
					most = 1
				}
				if !raceEnabled {
					assert.LessOrEqual(t, allocs, most, "%s, %d messages", name, messages)
				}
			}
		}
	}
}

// TestMemoryOfPackets: what is given back is had again, as far as it has not grown, and not without end.
func TestMemoryOfPackets(t *testing.T) {
	var s packets
	for _, size := range []sizeHint{0, 1, 400, 511, 5000, fillPacket, 10 * fillPacket} {
		b := s.get(size)
		assert.Len(t, b, packetHeaderLen)
		assert.GreaterOrEqual(t, cap(b), min(int(size), packetRoom))
		assert.LessOrEqual(t, cap(b), max(packetLeast, 3*int(size)))
		b = append(b, 7)
		s.put(b)
		again := s.get(size)
		assert.Len(t, again, packetHeaderLen)
		assert.Same(t, &b[0], &again[0])
		assert.NotSame(t, &again[0], &s.get(size)[0], "it is in use")
	}
	s = packets{}
	s.put(make([]byte, 1000))
	s.put(make([]byte, packetRoom+1))
	s.put(nil)
	for _, list := range s.free {
		assert.Empty(t, list)
	}
	for range 10 * sparePackets {
		s.put(make([]byte, packetRoom))
	}
	assert.Len(t, s.free[len(s.free)-1], sparePackets)
}
