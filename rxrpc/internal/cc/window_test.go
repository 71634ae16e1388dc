package cc

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// rounds lets a window live through round trips of a length in which all of it arrives.
func rounds(w *window, n int, rtt, least Time) (sizes []int) {
	for range n {
		for range minRTTSamples {
			w.sample(rtt)
		}
		flight := w.cwnd
		for left := flight; left > 0; left -= 2 {
			w.grow(min(left, 2), flight, least)
		}
		w.round()
		sizes = append(sizes, w.cwnd)
	}
	return sizes
}

func newWindow(cwnd, ssthresh int) *window {
	var w window
	w.reset(cwnd, ssthresh)
	return &w
}

const ms = Millisecond

func TestSlowStart(t *testing.T) {
	w := newWindow(10, MaxWindow)
	assert.Equal(t, []int{20, 40, 80, 160, 255, 255}, rounds(w, 6, 50*ms, 50*ms))
}

func TestSlowStartEndsWhereAQueueBegins(t *testing.T) {
	w := newWindow(10, MaxWindow)
	rounds(w, 2, 50*ms, 50*ms) // 40
	got := rounds(w, cssRounds+3, 60*ms, 50*ms)
	assert.Less(t, got[0], 80, "a quarter as fast from the moment that it is seen")
	assert.False(t, w.slowStart(), "and over after five rounds (RFC 9406)")
	assert.LessOrEqual(t, got[len(got)-1]-got[len(got)-2], 1, "one packet per round trip then")
	assert.Less(t, w.cwnd, 160)
}

func TestSlowStartGoesOnAfterAFalseAlarm(t *testing.T) {
	w := newWindow(10, MaxWindow)
	rounds(w, 2, 50*ms, 50*ms)
	rounds(w, 1, 60*ms, 50*ms)
	assert.NotZero(t, w.css)
	got := rounds(w, 3, 50*ms, 50*ms)
	assert.Zero(t, w.css)
	assert.GreaterOrEqual(t, got[2], 200)
}

func TestGrowthWithoutQueue(t *testing.T) {
	w := newWindow(80, 40)
	assert.Equal(t, []int{90, 101, 113}, rounds(w, 3, 50*ms, 50*ms), "an eighth per round trip")
	w = newWindow(4, 2)
	assert.Equal(t, []int{5, 6, 7}, rounds(w, 3, 50*ms, 50*ms), "at least what Reno has")
}

func TestGrowthWithQueue(t *testing.T) {
	w := newWindow(80, 40)
	got := rounds(w, 5, 90*ms, 50*ms)
	assert.LessOrEqual(t, got[4]-got[0], 5, "one packet per round trip")
}

func TestUnusedWindowDoesNotGrow(t *testing.T) {
	w := newWindow(80, 40)
	w.grow(10, 20, 50*ms)
	assert.Equal(t, 80, w.cwnd)
	w = newWindow(80, MaxWindow)
	w.grow(10, 20, 50*ms)
	assert.Equal(t, 80, w.cwnd)
}

func TestLossesBorne(t *testing.T) {
	w := newWindow(200, 100)
	cut := 0
	for range 1000 { // 1 %
		for range 100 {
			w.grow(1, 0, 0)
		}
		if w.lost(1, 0) {
			cut++
		}
	}
	assert.Zero(t, cut)
	for range 1000 { // 4 %
		for range 25 {
			w.grow(1, 0, 0)
		}
		if w.lost(1, 0) {
			cut++
		}
	}
	assert.Greater(t, cut, 400)
	w = newWindow(200, 100)
	assert.True(t, w.lost(firstCredit+1, 0), "many at once")
}

func TestReduction(t *testing.T) {
	w := newWindow(100, 50)
	w.reduce(100)
	flight, sent := 90, 0 // ten are lost
	for flight > 0 && sent < 60 {
		flight--
		w.prr(1, flight)
		for flight < w.cwnd {
			flight, sent = flight+1, sent+1
			w.prrOut++
		}
	}
	assert.InDelta(t, 70, flight, 2, "what is under way comes down to the new window")
	w.recovered()
	assert.Equal(t, 70, w.cwnd)
	w.undo()
	assert.Equal(t, 100, w.cwnd)
	assert.Equal(t, 70, w.ssthresh)
	w.undo()
	assert.Equal(t, 100, w.cwnd, "once")

	w.timeout(false)
	assert.Equal(t, []int{1, 70}, []int{w.cwnd, w.ssthresh})
	w.timeout(true)
	assert.Equal(t, []int{1, 70}, []int{w.cwnd, w.ssthresh}, "the second in a row says nothing new")
	w = newWindow(1, 5)
	w.timeout(false)
	assert.Equal(t, minSsthresh, w.ssthresh)
}
