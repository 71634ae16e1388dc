package cc

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRTT(t *testing.T) {
	var r RTT
	assert.Equal(t, InitialRTO, r.RTO())
	assert.Zero(t, r.Smoothed())
	assert.True(t, r.Want(0))

	r.Sample(0, 100*Millisecond) // RFC 6298, 2.2
	assert.Equal(t, 100*Millisecond, r.Smoothed())
	assert.Equal(t, 50*Millisecond, r.Deviation())
	assert.Equal(t, 300*Millisecond, r.RTO())

	r.Sample(0, 180*Millisecond) // 2.3: rttvar = 3/4*50 + 1/4*80, srtt = 7/8*100 + 1/8*180
	assert.Equal(t, 57500*Microsecond, r.Deviation())
	assert.Equal(t, 110*Millisecond, r.Smoothed())
	assert.Equal(t, 340*Millisecond, r.RTO())
	assert.Equal(t, 100*Millisecond, r.Min(0))

	for range 200 {
		r.Sample(Second, 20*Microsecond)
	}
	assert.Equal(t, MinRTO, r.RTO())
	r.Sample(Second, 1000*Second)
	assert.LessOrEqual(t, r.RTO(), MaxRTO)
	r.Sample(Second, -5) // a clock that is wrong
	assert.Positive(t, r.Min(Second))

	r.Asked(10 * Second)
	assert.False(t, r.Want(10*Second+Second-1))
	assert.True(t, r.Want(11*Second))
}

func TestMinFilter(t *testing.T) {
	var r RTT
	r.Sample(0, 10*Millisecond)
	r.Sample(50*Second, 30*Millisecond)
	r.Sample(150*Second, 20*Millisecond)
	r.Sample(250*Second, 40*Millisecond)
	assert.Equal(t, 10*Millisecond, r.Min(299*Second))
	assert.Equal(t, 20*Millisecond, r.Min(301*Second), "what is older than five minutes is forgotten")
	assert.Equal(t, 40*Millisecond, r.Min(401*Second))
	assert.Zero(t, r.Min(1000*Second))
	r.Sample(5000*Second, 7*Millisecond)
	assert.Equal(t, 7*Millisecond, r.Min(5001*Second))
}

func TestPathInherits(t *testing.T) {
	var p Path
	cwnd, ssthresh := p.inherit(0)
	assert.Equal(t, []int{InitialWindow, MaxWindow}, []int{cwnd, ssthresh})
	p.leave(0, &window{cwnd: 50, ssthresh: 40})
	cwnd, ssthresh = p.inherit(Second)
	assert.Equal(t, []int{25, 40}, []int{cwnd, ssthresh})
	p.leave(0, &window{cwnd: 255, ssthresh: 3})
	cwnd, ssthresh = p.inherit(Second)
	assert.Equal(t, []int{maxInherited, InitialWindow}, []int{cwnd, ssthresh})
	cwnd, _ = p.inherit(11 * Second)
	assert.Equal(t, InitialWindow, cwnd, "old news")
	p.Configure(Config{Initial: 4, MinRTO: 5 * Second, Window: 3})
	cwnd, _ = p.inherit(11 * Second)
	assert.Equal(t, 4, cwnd)
	p.Sample(0, Millisecond)
	assert.Equal(t, 5*Second, p.RTO())
}
