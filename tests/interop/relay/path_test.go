package relay

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// fates sends n datagrams of size bytes down a lane, one each millisecond.
func fates(l *lane, p Path, n, size int) ([]fate, Stats) {
	var s Stats
	all := make([]fate, n)
	for i := range all {
		all[i] = l.fate(&p, &s, time.Duration(i)*ms, size)
	}
	return all, s
}

func TestTheZeroPathPassesAll(t *testing.T) {
	all, s := fates(newLane(1, 0, 0), Path{}, 100, 1000)
	for i, f := range all {
		assert.Equal(t, fate{at: [2]time.Duration{time.Duration(i) * ms}, n: 1, bit: -1}, f)
	}
	assert.Equal(t, Stats{Received: 100}, s)
}

func TestASeedRepeats(t *testing.T) {
	p := Path{Delay: ms, Jitter: ms, Loss: 0.1, Duplicate: 0.1, Corrupt: 0.1, Reorder: 0.1}
	one, s1 := fates(newLane(7, 3, 1), p, 1000, 100)
	two, s2 := fates(newLane(7, 3, 1), p, 1000, 100)
	assert.Equal(t, one, two)
	assert.Equal(t, s1, s2)
	for _, other := range []*lane{newLane(8, 3, 1), newLane(7, 2, 1), newLane(7, 3, 0)} {
		three, _ := fates(other, p, 1000, 100)
		assert.NotEqual(t, one, three)
	}
}

func TestProbabilitiesAreWhatTheySay(t *testing.T) {
	const n = 20000
	p := Path{Loss: 0.1, Duplicate: 0.2, Corrupt: 0.05, Reorder: 0.3}
	all, s := fates(newLane(5, 0, 0), p, n, 100)
	near := func(want float64, got int, of int) {
		t.Helper()
		sigma := math.Sqrt(float64(of) * want * (1 - want))
		assert.InDelta(t, want*float64(of), got, 5*sigma)
	}
	passed := n - s.Lost
	near(p.Loss, s.Lost, n)
	near(p.Duplicate, s.Duplicated, passed)
	near(p.Corrupt, s.Corrupted, passed)
	near(p.Reorder, s.Reordered, passed)
	var counted Stats
	for _, f := range all {
		counted.Received++
		if f.drop {
			counted.Lost++
			continue
		}
		if f.n == 2 {
			counted.Duplicated++
		}
		if f.bit >= 0 {
			counted.Corrupted++
			assert.Less(t, f.bit, 800)
		}
	}
	counted.Reordered = s.Reordered
	assert.Equal(t, counted, s)
}

// That some are duplicated changes nothing for those that are lost.
func TestProbabilitiesDoNotMeddle(t *testing.T) {
	alone, _ := fates(newLane(5, 0, 0), Path{Loss: 0.1}, 1000, 100)
	with, _ := fates(newLane(5, 0, 0), Path{Loss: 0.1, Duplicate: 0.5, Corrupt: 0.5, Jitter: ms, MTU: 100}, 1000, 100)
	for i := range alone {
		require.Equal(t, alone[i].drop, with[i].drop, i)
	}
}

func TestJitterKeepsTheOrderAndReorderDoesNot(t *testing.T) {
	all, _ := fates(newLane(1, 0, 0), Path{Delay: 5 * ms, Jitter: 20 * ms}, 1000, 100)
	var last time.Duration
	spread := map[time.Duration]bool{}
	for i, f := range all {
		late := f.at[0] - time.Duration(i)*ms
		require.GreaterOrEqual(t, f.at[0], last)
		require.GreaterOrEqual(t, late, 5*ms)
		require.LessOrEqual(t, late, 25*ms)
		last = f.at[0]
		spread[late.Truncate(ms)] = true
	}
	assert.Greater(t, len(spread), 10)

	all, s := fates(newLane(1, 0, 0), Path{Reorder: 0.1}, 1000, 100)
	overtaken := 0
	for i, f := range all[:len(all)-1] {
		if f.at[0] > all[i+1].at[0] {
			overtaken++
		}
	}
	assert.Positive(t, overtaken)
	assert.LessOrEqual(t, overtaken, s.Reordered)
}

func TestTooLargeVanishes(t *testing.T) {
	l, p, s := newLane(1, 0, 0), Path{MTU: 1400}, Stats{}
	assert.False(t, l.fate(&p, &s, 0, 1400).drop)
	assert.True(t, l.fate(&p, &s, 0, 1401).drop)
	assert.Equal(t, Stats{Received: 2, TooBig: 1}, s)
}

// A line of 1000 bytes a second takes 0.1 s for each 100, one after the other, and
// has room for five more.
func TestANarrowLine(t *testing.T) {
	l, p, s := newLane(1, 0, 0), Path{Rate: 1000, Queue: 500}, Stats{}
	for i := range 6 {
		f := l.fate(&p, &s, 0, 100)
		require.False(t, f.drop, i)
		assert.Equal(t, time.Duration(i+1)*100*ms, f.at[0])
	}
	assert.True(t, l.fate(&p, &s, 0, 100).drop)
	assert.Equal(t, 1, s.Overflow)
	f := l.fate(&p, &s, 2*time.Second, 100) // all gone meanwhile
	assert.Equal(t, 2*time.Second+100*ms, f.at[0])
}
