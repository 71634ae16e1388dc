//go:build linux

package faults

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/broker"
)

// The broker is killed, and started again, while clients do all they can. They
// come back by themselves with all that they had, and nothing that was acknowledged is lost.
func TestBrokerKilledUnderLoad(t *testing.T) {
	t.Parallel()
	testRestarts(t, (*site).crash)
}

// The same when it is asked to stop, as systemd does.
func TestBrokerStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	testRestarts(t, (*site).stop)
}

func testRestarts(t *testing.T, end func(*site)) {
	s := newSite(t, brokerConfig{})
	o := s.observer()
	l := newLoad(s)
	w := l.watcher()
	v := l.observe(w)
	reader, late := endpoint(t, s.bus("reader")), endpoint(t, s.bus("late"))
	require.NoError(t, reader.JoinAt(l.ctx, longGroup, connector.Position{}))
	require.NoError(t, late.JoinAt(l.ctx, shortGroup, connector.Position{}))
	kept := l.follow("reader", reader)
	plain := l.follow("plain member", member(t, s.bus("plain"), plainGroup))
	l.run()

	const restarts = 5
	rnd := rand.New(rand.NewPCG(5, 6))
	back := func(n int) { // without it a broker could come and go before they look again
		eventually(t, "all are back", func() bool {
			return kept.ups.Load() >= int64(n) && plain.ups.Load() >= int64(n) && v.again(n)
		})
	}
	for n := range restarts {
		back(n)
		l.progress(20 + rnd.Int64N(30))
		waiting := make(chan error, 1)
		caller := endpoint(t, s.bus("waits"))
		go func() {
			_, err := caller.Call(l.ctx, connector.Message{ID: silentID}, toID)
			waiting <- err
		}()
		<-l.asked
		end(s)
		err := <-waiting
		require.ErrorIs(t, err, connector.ErrInterrupted)
		var op *connector.OpError
		require.ErrorAs(t, err, &op)
		assert.True(t, op.MayBeDelivered, "the agent has it")
		s.start()
	}
	back(restarts)
	l.progress(20)
	l.end()

	// Confirmed messages have arrived, each once.
	sent := l.actor("sender").acked
	eventually(t, "the sink has what was acknowledged", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !slices.ContainsFunc(sent, func(n uint64) bool { return l.sunk[n] == 0 })
	})
	for n, times := range l.sunk {
		require.Equal(t, 1, times, n)
	}

	// The group with a long history: every acknowledged message, once, in order.
	<-kept.done
	<-plain.done
	require.Empty(t, l.wrong)
	assert.Zero(t, kept.lost+uint64(kept.unknown))
	assert.Equal(t, restarts, kept.downs)
	for _, n := range l.actor("publisher").acked {
		_, found := slices.BinarySearch(kept.got, n)
		require.True(t, found, "%d was acknowledged", n)
	}
	// The group without: each interruption is told.
	assert.Equal(t, restarts, plain.downs)
	assert.GreaterOrEqual(t, plain.unknown, restarts)

	// One who reads only now is told exactly how much of the short history is gone.
	missed := l.follow("late", late)
	<-missed.done
	require.Empty(t, l.wrong)
	assert.Zero(t, missed.unknown)
	assert.Positive(t, missed.lost)
	for _, row := range ask[[]broker.GroupRow](o, "groups") {
		if row.Group == shortGroup {
			assert.Equal(t, row.History.Last, missed.pos)
			assert.EqualValues(t, row.History.Last, uint64(len(missed.got))+missed.lost+1, "every message of the history, and the last number")
		}
	}

	// What was registered and joined is there again.
	want := map[cbid.ID]bool{echoID: true, silentID: true, sinkID: true, shortID: true}
	for _, n := range l.actor("registrar").acked {
		want[cbid.Make(addedIdx, uint32(n))] = true
	}
	have := make(map[cbid.ID]bool)
	for _, row := range ask[[]broker.IDRow](o, "ids") {
		have[row.ID] = true
		assert.Equal(t, l.agent.Port(), row.Owner.Port)
	}
	require.Equal(t, want, have)
	eventually(t, "the watcher knows them", func() bool { return v.has(want) })
	require.NoError(t, l.joiner.Ping(l.ctx)) // it has not noticed the end as long as nobody uses it
	groups := o.conn(l.joiner.Port()).Groups
	for _, n := range l.actor("joiner").acked {
		require.Contains(t, groups, uint32(joinedBase+n))
	}
	require.NoError(t, w.Close())
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.wrong)
	var kinds []connector.EventKind
	for range restarts {
		kinds = append(kinds, connector.EventDown, connector.EventUp)
	}
	assert.Equal(t, kinds, l.busEvents)
	assert.GreaterOrEqual(t, v.resync, restarts)
}
