package natsbridge

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector"
)

// keepSome has h send n messages to the durable group, and waits.
func (s *sim) keepSome(h *simHost, n int) {
	for range n {
		h.keep()
	}
	h.turn()
	s.forward(1000 * ms)
}

// TestMessagesOfAGroupThatIsDurableAgainAreNew: the host was told that the group is no longer durable, and the stream is
// there still. What is sent then is not taken for what is stored already.
func TestMessagesOfAGroupThatIsDurableAgainAreNew(t *testing.T) {
	s := newSim(t, 1, 1)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	h := s.hosts[0]
	h.receive()
	s.keepSome(h, 5)
	require.Len(t, h.acked, 5)
	h.core.learn(simGroup, connector.History{})
	h.core.Locate(simGroup, s.want)
	s.keepSome(h, 5)
	assert.Len(t, h.acked, 10)
	assert.EqualValues(t, 10, s.streams[simGroup].last())
	assert.Len(t, h.place.got, 10)
}

// TestTheHubIsToldOfTheEndOfAGroupOfThePolicy: the host has learned from nobody that the group is durable.
func TestTheHubIsToldOfTheEndOfAGroupOfThePolicy(t *testing.T) {
	s := newSim(t, 1, 2)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	b.receive()
	s.forward(1000 * ms)
	require.NotContains(t, b.core.durableKnown, uint32(simGroup))
	a.core.Define(simGroup, connector.History{})
	a.turn()
	s.forward(1000 * ms)
	assert.Equal(t, 1, b.ended)
}

// TestAStoreThatRefusesIsAskedWithPauses: however often the hub asks.
func TestAStoreThatRefusesIsAskedWithPauses(t *testing.T) {
	s := newSim(t, 1, 1)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	h := s.hosts[0]
	s.denied[streamOpen] = errStreamFull
	h.receive()
	s.forward(60e9)
	assert.Less(t, s.tried[streamOpen], 60)
	s.denied[streamOpen] = nil
	s.forward(5e9)
	s.keepSome(h, 3)
	assert.Len(t, h.place.got, 3)
}

// TestThePauseGrowsWhileTheStreamIsThere: that it can be looked at does not mean that it takes messages.
func TestThePauseGrowsWhileTheStreamIsThere(t *testing.T) {
	s := newSim(t, 1, 1)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	h := s.hosts[0]
	s.keepSome(h, 1)
	s.tried[streamAppend] = 0
	s.denied[streamAppend] = errSimAway
	s.keepSome(h, 3)
	s.forward(60e9)
	assert.Less(t, s.tried[streamAppend], 50)
	assert.Greater(t, s.tried[streamAppend], 20)
	s.denied[streamAppend] = nil
	s.forward(5e9)
	assert.Len(t, h.acked, 4)
}

// TestAnEndThatIsRefusedIsAnswered: the group stays durable.
func TestAnEndThatIsRefusedIsAnswered(t *testing.T) {
	s := newSim(t, 1, 1)
	s.start()
	h := s.hosts[0]
	want := connector.History{Messages: 10, Durable: true}
	h.core.Define(7, want)
	h.turn()
	s.forward(1000 * ms)
	require.Equal(t, 1, h.defined)
	s.denied[streamDelete] = errStreamDenied
	h.core.Define(7, connector.History{})
	h.turn()
	s.forward(1000 * ms)
	assert.Equal(t, 2, h.defined)
	assert.Equal(t, want, h.durable[7])
	assert.Empty(t, h.core.durables[7].defs)
}

// TestWhatPassesByItselfIsNoRefusal: a message is refused for good only by what will be the same tomorrow.
func TestWhatPassesByItselfIsNoRefusal(t *testing.T) {
	is := func(status int, code jetstream.ErrorCode) bool {
		return definite(streamFailure(fmt.Errorf("publish: %w", &jetstream.APIError{Code: status, ErrorCode: code})))
	}
	for _, code := range []jetstream.ErrorCode{10176, 10202, 10005, 10124, 10226} {
		assert.False(t, is(400, code), code)
	}
	assert.False(t, is(409, 10158))
	assert.False(t, is(429, 10210))
	for _, code := range []jetstream.ErrorCode{10003, 10054, 10065, 10109, 10174, 10026} {
		assert.True(t, is(400, code), code)
	}
}
