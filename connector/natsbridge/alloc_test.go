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
type sink struct{ n int }

func (s *sink) Packet(subject, []byte)       { s.n++ }
func (s *sink) Listen(uint32, bool)          {}
func (s *sink) Store(storeOp)                {}
func (s *sink) Stream(streamOp)              {}
func (s *sink) Follow(_ uint32, _, _ uint64) {}
func (s *sink) Soon()                        {}
func (s *sink) Wake(int64)                   {}

// TestAPacketIsOneAllocation: whatever a turn of the loop has for a host or a group goes in one packet, whose memory is
// all that is allocated.
func TestAPacketIsOneAllocation(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates too: only that it works is seen")
	}
	var out sink
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
	const messages = 100
	for name, send := range map[string]func(){
		"group":   func() { c.Publish(0x200, connector.SitePort(1, 7), connector.Cred{}, fr) },
		"unicast": func() { c.Forward(2, connector.SitePort(1, 7), connector.Cred{}, fr) },
	} {
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
		if !raceEnabled {
			assert.LessOrEqual(t, allocs, 1.0, name)
		}
	}
}
