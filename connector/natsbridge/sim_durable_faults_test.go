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
	a.core.Define(simGroup, 0, connector.History{})
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

// TestAStoreThatIsSetUpWrongly is asked now and then, as it will refuse until somebody changes that; 'cnbus hosts' says so.
func TestAStoreThatIsSetUpWrongly(t *testing.T) {
	for _, code := range []jetstream.ErrorCode{10052, 10074} {
		s := newSim(t, 1, 1)
		s.want = connector.History{Messages: 1000, Durable: true}
		s.patient = true
		s.start()
		h := s.hosts[0]
		s.denied[streamOpen] = streamFailure(&jetstream.APIError{Code: 500, ErrorCode: code, Description: "replicas"})
		h.receive()
		s.forward(600e9)
		assert.Less(t, s.tried[streamOpen], 40)
		assert.Greater(t, s.tried[streamOpen], 10)
		assert.Contains(t, h.core.hosts()[0].Why, "durable group 1024 (open): the store refuses")
		h.keep()
		h.core.Locate(simGroup, s.want) // who asks anew does not wait for that
		h.turn()
		s.forward(3e9)
		assert.Len(t, h.refused, 1)
		delete(s.denied, streamOpen)
		s.forward(31e9)
		s.keepSome(h, 3)
		assert.Len(t, h.place.got, 3)
		assert.Empty(t, h.core.hosts()[0].Why)
	}
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
	h.core.Define(7, 0, want)
	h.turn()
	s.forward(1000 * ms)
	require.Equal(t, 1, h.defined)
	s.denied[streamDelete] = errStreamDenied
	h.core.Define(7, 0, connector.History{})
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
	for _, code := range []jetstream.ErrorCode{10003, 10054, 10065, 10109, 10174, 10026, 10052, 10074} {
		assert.True(t, is(400, code), code)
	}
}

// TestAListWithGapsEndsNoGroup: in a cluster it has the streams whose leaders answer.
func TestAListWithGapsEndsNoGroup(t *testing.T) {
	s := newSim(t, 1, 1)
	s.start()
	h := s.hosts[0]
	for g := range uint32(3) {
		h.core.Define(7+g, 0, connector.History{Messages: 10, Durable: true})
	}
	h.turn()
	s.forward(1000 * ms)
	require.Len(t, h.durable, 3)
	s.unlisted = map[uint32]bool{7: true}
	delete(s.streams, 9)
	h.core.list()
	s.forward(1000 * ms)
	assert.Contains(t, h.durable, uint32(7))
	assert.Contains(t, h.durable, uint32(8))
	assert.NotContains(t, h.durable, uint32(9))
	s.denied[streamLook] = errSimAway
	s.unlisted[8] = true
	h.core.list()
	s.forward(10000 * ms)
	assert.Len(t, h.durable, 2, "nobody knows whether they have ended")
	assert.False(t, h.core.listing && h.core.listAgain)
}

// TestAListThatIsOlderThanWhatIsKnown is made again: it has a group that has ended since, and none that was made.
func TestAListThatIsOlderThanWhatIsKnown(t *testing.T) {
	s := newSim(t, 1, 1)
	s.start()
	s.forward(1000 * ms)
	h := s.hosts[0]
	want := connector.History{Messages: 10, Durable: true}
	h.core.learn(8, want)
	var list streamOp
	h.core.wire = &listHeld{simHost: h, op: &list}
	h.core.list()
	h.core.learn(7, want)
	h.core.learn(8, connector.History{})
	h.core.wire = h
	s.streams[7] = &simStream{epoch: 1, first: 1, want: want}
	list.then(streamResult{groups: map[uint32]connector.History{8: want}})
	s.forward(5000 * ms)
	assert.Equal(t, map[uint32]connector.History{7: want}, h.durable)
	assert.Equal(t, 1, h.ended)
}

// listHeld keeps what is asked of streams.
type listHeld struct {
	*simHost
	op *streamOp
}

func (l *listHeld) Stream(op streamOp) { *l.op = op }

// TestAnEndedGroupIsNotMadeAgain by who reads or writes it and has not been told yet.
func TestAnEndedGroupIsNotMadeAgain(t *testing.T) {
	for _, writes := range []bool{false, true} {
		s := newSim(t, 1, 1)
		s.want = connector.History{Messages: 1000, Durable: true}
		s.start()
		h := s.hosts[0]
		h.core.Define(simGroup, 0, s.want)
		h.receive()
		s.keepSome(h, 3)
		require.Len(t, h.place.got, 3)
		delete(s.streams, simGroup) // by another host
		if writes {
			h.keep()
		}
		h.core.readerBroke(simGroup, h.core.durables[simGroup].reading)
		h.turn()
		s.forward(3000 * ms)
		assert.Empty(t, s.streams)
		assert.Empty(t, h.durable)
		assert.Empty(t, h.core.durables)
		assert.Zero(t, h.window[storeHost], "who sent was answered")
	}
}

// TestAGroupOfThePolicyIsMadeAgain: nobody else has made it durable, so that nobody can have ended that.
func TestAGroupOfThePolicyIsMadeAgain(t *testing.T) {
	s := newSim(t, 1, 1)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	h := s.hosts[0]
	h.receive()
	s.keepSome(h, 3)
	delete(s.streams, simGroup)
	s.keepSome(h, 2)
	s.forward(3000 * ms)
	require.Contains(t, s.streams, uint32(simGroup))
	assert.Equal(t, 1, h.resets)
	assert.Len(t, h.acked, 5)
	assert.Len(t, h.place.got, 5)
}

// TestADoubtfulMessageThatIsNoLongerKeptIsTold: it was stored, nobody said so, the others have filled the stream, and the
// store knows its name no more. It is not stored twice.
func TestADoubtfulMessageThatIsNoLongerKeptIsTold(t *testing.T) {
	for _, stored := range []bool{true, false} {
		s := newSim(t, 1, 2)
		s.want = connector.History{Messages: 5, Durable: true}
		s.forgets = true
		s.start()
		a, b := s.hosts[0], s.hosts[1]
		s.keepSome(a, 1)
		s.keepSome(b, 1)
		require.Len(t, a.acked, 1)
		a.core.wire = &unanswered{a, stored}
		a.keep()
		a.turn()
		s.forward(100 * ms)
		s.part(1, 0)
		if stored {
			s.keepSome(b, 10)
		} else {
			s.keepSome(b, 1) // nothing was evicted that a can have stored
		}
		a.core.wire = a
		s.part(0, 0)
		s.forward(10e9)
		assert.Empty(t, a.core.durables[simGroup].queue)
		if stored {
			assert.Len(t, a.acked, 1)
			assert.Len(t, a.refused, 1)
			assert.EqualValues(t, 13, s.streams[simGroup].last())
		} else {
			assert.Len(t, a.acked, 2)
			assert.Empty(t, a.refused)
			assert.EqualValues(t, 4, s.streams[simGroup].last())
		}
	}
}

// unanswered does what is appended, or not, and says that the store is away.
type unanswered struct {
	*simHost
	stored bool
}

func (u *unanswered) Stream(op streamOp) {
	if op.kind != streamAppend {
		u.simHost.Stream(op)
		return
	}
	u.s.at(ms, func() {
		if u.stored {
			u.s.stream(u.num, &op)
		}
		op.then(streamResult{err: errSimAway})
		u.turn()
	})
}

// TestDefinitionsOfAGroupAreDoneOneAfterTheOther: what is asked for behind the end of a durable group is done after it, also where
// another host ends the group meanwhile.
func TestDefinitionsOfAGroupAreDoneOneAfterTheOther(t *testing.T) {
	s := newSim(t, 1, 2)
	s.start()
	h := s.hosts[0]
	want := connector.History{Messages: 10, Durable: true}
	more := connector.History{Messages: 20, Durable: true}
	none := connector.History{}
	h.core.Define(7, 1, want)
	h.core.Define(7, 2, none)
	h.core.Define(7, 3, more)
	h.turn()
	s.forward(3000 * ms)
	assert.Equal(t, []uint32{1, 2, 3}, h.definedTags)
	require.Contains(t, s.streams, uint32(7))
	assert.Equal(t, more, s.streams[7].want)
	assert.Equal(t, more, h.durable[7])
	assert.Equal(t, more, s.hosts[1].durable[7])

	h.core.Define(7, 4, want)
	h.core.Define(7, 5, more)
	h.core.learn(7, none)
	h.turn()
	s.forward(3000 * ms)
	assert.Equal(t, []uint32{1, 2, 3, 4, 5}, h.definedTags)
	assert.Equal(t, more, s.hosts[1].durable[7])
}

// TestAnAttemptThatIsDoneVeryLate: the answer to a host's first message did not come, it was stored by another attempt, the others have
// evicted it, and the store knows its name no more, when the first attempt arrives.
func TestAnAttemptThatIsDoneVeryLate(t *testing.T) {
	s := newSim(t, 1, 2)
	s.want = connector.History{Messages: 5, Durable: true}
	s.forgets = true
	s.start()
	a, b := s.hosts[0], s.hosts[1]
	s.keepSome(b, 1)
	late := &lateAppend{simHost: a}
	a.core.wire = late
	a.keep()
	a.turn()
	s.forward(100 * ms)
	require.Len(t, late.ops, 1)
	a.core.wire = a
	s.forward(5000 * ms)
	require.Len(t, a.acked, 1)
	s.keepSome(b, 10)
	last := s.streams[simGroup].last()
	assert.ErrorIs(t, s.stream(a.num, &late.ops[0]).err, errStreamBehind)
	assert.Equal(t, last, s.streams[simGroup].last())
	s.keepSome(a, 2)
	assert.Len(t, a.acked, 3)
}

// TestAFirstMessageAmongMany: the others are quicker each time. It is stored; and if then the answer does not come, it is told, and not
// tried again.
func TestAFirstMessageAmongMany(t *testing.T) {
	for _, away := range []bool{false, true} {
		s := newSim(t, 1, 2)
		s.want = connector.History{Messages: 1000, Durable: true}
		s.start()
		a, b := s.hosts[0], s.hosts[1]
		s.keepSome(b, 1)
		crowd := &crowdedAppend{simHost: a, by: b, away: away}
		a.core.wire = crowd
		a.keep()
		a.turn()
		s.forward(5000 * ms)
		assert.Equal(t, crowdedMost, crowd.still)
		assert.Empty(t, a.core.durables[simGroup].queue)
		if away {
			assert.Len(t, a.refused, 1)
			assert.Equal(t, 1, crowd.loose)
			continue
		}
		assert.Len(t, a.acked, 1)
		s.keepSome(a, 1)
		assert.Len(t, a.acked, 2)
	}
}

// lateAppend keeps what is appended, and says that the store is away.
type lateAppend struct {
	*simHost
	ops []streamOp
}

func (l *lateAppend) Stream(op streamOp) {
	if op.kind != streamAppend {
		l.simHost.Stream(op)
		return
	}
	l.ops = append(l.ops, op)
	l.s.at(ms, func() {
		op.then(streamResult{err: errSimAway})
		l.turn()
	})
}

// crowdedAppend has another host append just before each attempt.
type crowdedAppend struct {
	*simHost
	by           *simHost
	away         bool
	still, loose int
}

func (c *crowdedAppend) Stream(op streamOp) {
	if op.kind != streamAppend {
		c.simHost.Stream(op)
		return
	}
	c.s.at(ms, func() {
		st := c.s.streams[op.group]
		other := streamOp{kind: streamAppend, group: op.group, seq: st.lastN[c.by.num], batch: [][]byte{{1}}, ids: []string{streamMsgID(c.by.num, 1, st.last())}}
		require.NoError(c.s.t, c.s.stream(c.by.num, &other).err)
		r := streamResult{err: errSimAway}
		if op.still {
			c.still++
		} else {
			c.loose++
		}
		if op.still || !c.away {
			r = c.s.stream(c.num, &op)
		}
		op.then(r)
		c.turn()
	})
}

// TestAServerThatLedTheStreamIsNotBelieved: cut off from the others it says for a while that there is less than what was read. A server
// that leads is believed.
func TestAServerThatLedTheStreamIsNotBelieved(t *testing.T) {
	s := newSim(t, 1, 1)
	s.want = connector.History{Messages: 1000, Durable: true}
	s.start()
	h := s.hosts[0]
	h.receive()
	s.keepSome(h, 10)
	require.Len(t, h.place.got, 10)
	var since, looks int64
	contact := func() int64 { return s.now - since + 500*ms } // heard of nobody since before the first look
	s.looks = func(r *streamResult) {
		if looks++; since == 0 {
			since = s.now
		}
		r.last, r.contact = 6, contact()
	}
	look := func(d int64) {
		since, looks = 0, 0
		h.core.readerBroke(simGroup, h.core.durables[simGroup].reading)
		h.turn()
		s.forward(d)
	}
	look(20e9)
	assert.Greater(t, looks, int64(5), "it is asked again")
	assert.Zero(t, h.resets)
	s.looks = nil // it leads no more, and another one answers
	s.forward(5e9)
	assert.Zero(t, h.resets)
	s.keepSome(h, 3)
	assert.Len(t, h.place.got, 13)

	for _, c := range []func() int64{
		func() int64 { return 0 },         // there is no other
		func() int64 { return 1000 * ms }, // it hears of the others all the time
	} {
		contact = c
		s.looks = func(r *streamResult) { r.last, r.contact = 6, contact() }
		before := h.resets
		look(10e9)
		assert.Equal(t, before+1, h.resets, "what was stored is lost, and said to be")
		s.looks = nil
		h.core.durables[simGroup].top = 13
	}
}
