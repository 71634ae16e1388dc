package cc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// search lets m probe a path that passes bodies of up to max, for so long, and returns the trials.
func search(m *MTU, now *Time, most int, d Time) (trials []int) {
	serial := wire.Serial(*now / Millisecond)
	for end := *now + d; *now < end; *now += 10 * Millisecond {
		serial++
		if size, ok := m.Probe(*now); ok {
			trials = append(trials, size)
			m.ProbeSent(*now, serial, size)
			if size <= most {
				m.OnAck(*now+5*Millisecond, serial)
			}
		}
		m.OnTimer(*now, 200*Millisecond)
	}
	return trials
}

func newMTU(c MTUConfig) *MTU {
	var m MTU
	if c.Overhead == 0 {
		c.Overhead = 28
	}
	m.Reset(c)
	return &m
}

func TestSearchOrder(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 65535, MaxJumbo: 46})
	m.SetPeer(65160, 46)
	now := Second
	trials := search(m, &now, 1<<20, 10*Second)
	assert.Equal(t, []int{1412, 2828, 5660, 8492, 11324}, trials[:5], "1, 2, 4, 6, 8 packets")
	assert.Equal(t, 46, m.Slots())
	assert.Equal(t, wire.JumboSize(46), m.Good())
	more := search(m, &now, 1<<20, 60*Second)
	assert.Empty(t, more, "nothing to gain")
}

func TestSearchFindsPathMTU(t *testing.T) {
	for _, c := range []struct{ path, peer, jumbo, slots, data int }{
		{1444, 65160, 46, 1, 1444},
		{1412, 65160, 46, 1, 1412},
		{1300, 65160, 46, 1, 1300},
		{1205, 65160, 46, 1, 1205},
		{900, 65160, 46, 1, 900},
		{8944, 65160, 46, 6, 1444},
		{8944, 65160, 4, 4, 1444},
		{8944, 65160, 1, 1, 1444},
		{8944, 1412, 46, 1, 1412},
		{65507, 65160, 46, 46, 1444},
		{14200, 65160, 46, 10, 1444},
	} {
		m := newMTU(MTUConfig{IfMTU: 65535, MaxJumbo: 46})
		m.SetPeer(c.peer, c.jumbo)
		now := Second
		trials := search(m, &now, c.path, 60*Second)
		assert.Equal(t, c.slots, m.Slots(), "%+v: %v", c, trials)
		assert.InDelta(t, c.data, m.Data(), mtuEnough, "%+v: %v", c, trials)
		assert.LessOrEqual(t, m.Data(), c.path)
		assert.LessOrEqual(t, m.Proven(), c.path)
		assert.Less(t, len(trials), 40)
		assert.True(t, m.DontFragment(m.Data()))
		assert.False(t, m.DontFragment(m.Good()+1))
	}
}

func TestSearchWithin(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 1500, MaxJumbo: 46})
	m.SetPeer(65160, 46)
	now := Second
	for _, size := range search(m, &now, 1<<20, 60*Second) {
		assert.LessOrEqual(t, size, 1444, "the interface holds no more")
	}
	assert.Equal(t, 1444, m.Data())
	m = newMTU(MTUConfig{IfMTU: 65535, MaxJumbo: 46, Off: true, Start: 1000})
	assert.Empty(t, search(m, &now, 1<<20, 10*Second))
	assert.Equal(t, 1000, m.Data())
	assert.Equal(t, 1, m.Slots())
	m = newMTU(MTUConfig{IfMTU: 65535, MaxJumbo: 1})
	m.SetPeer(65160, 46)
	search(m, &now, 1<<20, 60*Second)
	assert.Equal(t, 1, m.Slots(), "no jumbos here")
	m = newMTU(MTUConfig{IfMTU: 300, Overhead: 48, Start: 1 << 30})
	assert.Equal(t, MinData, m.Data())
	m.SetPeer(-5, 1<<30)
	assert.Equal(t, MinData, m.Data())
}

func TestNoJumboWithoutProof(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 65535, MaxJumbo: 46, Start: 30000})
	m.SetPeer(65160, 46)
	assert.Equal(t, 1, m.Slots())
	m.Progress(Second, Progress{Arrived: 1, Largest: 1412}, false)
	assert.Equal(t, 1, m.Slots())
}

func TestBlackHole(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 9000, MaxJumbo: 46})
	m.SetPeer(65160, 46)
	now := Second
	search(m, &now, 9000, 10*Second)
	require.Equal(t, 6, m.Slots())
	// The path changes. Jumbos vanish, one call times out.
	for range mtuTimeouts {
		require.Equal(t, 6, m.Slots())
		m.Progress(now, Progress{Lost: 12, LargestLost: 8492}, true)
	}
	assert.Equal(t, 1, m.Slots())
	assert.Equal(t, 1412, m.Data())
	m.Progress(now, Progress{Lost: 5, LargestLost: 1412}, true)
	m.Progress(now, Progress{Lost: 1, LargestLost: 1412}, true)
	assert.Equal(t, BaseData, m.Data())
	for range 2 * mtuTimeouts {
		m.Progress(now, Progress{Lost: 1, LargestLost: BaseData}, true)
	}
	assert.Equal(t, MinData, m.Data())
	m.Progress(now, Progress{Lost: 1, LargestLost: MinData}, true)
	assert.Equal(t, MinData, m.Data())
	// It comes back.
	search(m, &now, 9000, 20*Second)
	assert.Equal(t, 6, m.Slots())
}

func TestBlackHoleWhileSmallOnesPass(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 1500})
	now := Second
	for range 10 { // losses among arrivals of the same size: just losses
		m.Progress(now, Progress{Lost: 5, LargestLost: 1412, Arrived: 1, Largest: 1412}, false)
		m.Progress(now, Progress{Lost: 1, LargestLost: 1412}, false)
		m.Progress(now, Progress{Arrived: 3, Largest: 1412}, false)
	}
	assert.Equal(t, 1412, m.Data())
	for range 3 {
		m.Progress(now, Progress{Lost: 2, LargestLost: 1412, Arrived: 4, Largest: 300}, false)
	}
	assert.Equal(t, BaseData, m.Data())
}

func TestBlackHoleBelowWhatWasProven(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 1500})
	now := Second
	search(m, &now, 1500, 10*Second)
	require.Equal(t, 1444, m.Data())
	for range mtuTimeouts { // of packets that are not as large as they might be
		m.Progress(now, Progress{Lost: 1, LargestLost: 1412}, true)
	}
	assert.Equal(t, BaseData, m.Data())
	assert.False(t, m.DontFragment(1412), "what is cut already goes in pieces")
}

func TestTooBig(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 9000, MaxJumbo: 46})
	m.SetPeer(65160, 46)
	now := Second
	search(m, &now, 9000, 10*Second)
	m.TooBig(now, 4000)
	assert.Equal(t, 2, m.Slots())
	m.TooBig(now, 5000)
	assert.Equal(t, 2, m.Slots(), "news of what is known")
	m.TooBig(now, 1300)
	assert.Equal(t, 1300-28-28, m.Data())
	m.TooBig(now, 68) // forged
	assert.Equal(t, MinData, m.Data())
	m = newMTU(MTUConfig{IfMTU: 9000, Overhead: 48})
	m.TooBig(now, 68)
	assert.Equal(t, BaseData, m.Data(), "IPv6")
	m = newMTU(MTUConfig{IfMTU: 9000, MaxJumbo: 46})
	m.TooBig(now, 0)
	assert.Equal(t, 1312, m.Data(), "without a number: a hundred less")
	m.Refused(now, 1200)
	assert.Equal(t, 1199, m.Data())
}

func TestProbeLost(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 1500, Start: 1000})
	size, ok := m.Probe(0)
	require.True(t, ok)
	assert.Equal(t, 1000, size)
	m.ProbeSent(0, 10, size)
	_, ok = m.Probe(Second)
	assert.False(t, ok, "one at a time")
	assert.False(t, m.OnAck(0, 9))
	assert.False(t, m.OnAck(0, 0))
	assert.False(t, m.OnAck(0, 11), "a later packet was answered: it is lost")
	assert.Equal(t, 1000, m.Data(), "once is nothing")
	size, ok = m.Probe(Second)
	require.True(t, ok)
	m.ProbeSent(Second, 12, size)
	due, ok := m.Deadline(Second)
	assert.True(t, ok)
	assert.Equal(t, 2*Second, due)
	m.OnTimer(due, Second)
	assert.Equal(t, MinData, m.Data(), "twice is")
}

func TestSearchAgainLater(t *testing.T) {
	m := newMTU(MTUConfig{IfMTU: 9000, MaxJumbo: 46, Raise: 100 * Second})
	m.SetPeer(65160, 46)
	now := Second
	search(m, &now, 1444, 50*Second)
	require.Equal(t, 1, m.Slots())
	search(m, &now, 9000, 40*Second)
	require.Equal(t, 1, m.Slots())
	search(m, &now, 9000, 40*Second)
	assert.Equal(t, 6, m.Slots())
}
