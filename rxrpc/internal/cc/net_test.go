package cc

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A pipe is a path between a Sender and a receiver that acknowledges as ours does: at once what is
// out of order or asks for it, otherwise every third packet, and after 100 ms.
type pipe struct {
	rtt      Time
	rate     float64 // packets per second at the bottleneck, 0 without limit
	buffer   int     // packets at the bottleneck
	loss     float64 // of DATA and ACKs
	burst    int     // packets lost together, 0 one
	jitter   Time    // at most, of each packet
	swap     float64 // share that is delayed by rtt/8 and so overtaken
	dup      float64
	window   int // receive window
	blackout [2]Time

	rng     *rand.Rand
	now     Time
	busy    Time // until when the bottleneck is
	events  events
	order   int
	s       Sender
	path    Path
	serial  wire.Serial
	ackSer  wire.Serial
	got     map[wire.Seq]bool
	next    wire.Seq
	unacked int
	delayed bool
	dropped int
	sentN   int
	burstN  int
	maxWait Time // longest time without an arrival at the sender
	last    Time
}

type event struct {
	at    Time
	order int
	run   func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (p *pipe) after(d Time, f func()) {
	p.order++
	heap.Push(&p.events, event{p.now + d, p.order, f})
}

func (p *pipe) drop() bool {
	if p.now >= p.blackout[0] && p.now < p.blackout[1] {
		return true
	}
	if p.burstN > 0 {
		p.burstN--
		return true
	}
	if p.rng.Float64() < p.loss {
		p.burstN = max(p.burst-1, 0)
		return true
	}
	return false
}

func (p *pipe) flyTime() Time {
	d := p.rtt / 2
	if p.jitter > 0 {
		d += Time(p.rng.Int64N(int64(p.jitter)))
	}
	if p.rng.Float64() < p.swap {
		d += p.rtt / 8
	}
	return d
}

// data carries a DATA packet to the receiver.
func (p *pipe) data(q wire.Seq, serial wire.Serial, ask bool) {
	p.sentN++
	if p.drop() {
		p.dropped++
		return
	}
	var wait Time
	if p.rate > 0 {
		per := Time(float64(Second) / p.rate)
		if p.busy < p.now {
			p.busy = p.now
		}
		if int((p.busy-p.now)/per) > p.buffer {
			p.dropped++
			return
		}
		p.busy += per
		wait = p.busy - p.now
	}
	p.after(wait+p.flyTime(), func() { p.receive(q, serial, ask) })
	if p.rng.Float64() < p.dup {
		p.after(wait+p.flyTime(), func() { p.receive(q, serial, ask) })
	}
}

func (p *pipe) receive(q wire.Seq, serial wire.Serial, ask bool) {
	reason := wire.AckReason(0)
	switch {
	case q.Before(p.next) || p.got[q]:
		reason = wire.AckDuplicate
	case q.Sub(p.next) >= p.window:
		reason = wire.AckExceedsWindow
	default:
		p.got[q] = true
		if q != p.next {
			reason = wire.AckOutOfSequence
		}
		for p.got[p.next] {
			delete(p.got, p.next)
			p.next++
		}
	}
	if p.unacked++; reason == 0 {
		if ask {
			reason = wire.AckRequested
		} else if p.unacked > 2 {
			reason = wire.AckIdle
		}
	}
	if reason != 0 {
		p.ack(reason, serial)
	} else if !p.delayed {
		p.delayed = true
		p.after(100*Millisecond, func() {
			p.delayed = false
			if p.unacked > 0 {
				p.ack(wire.AckDelay, 0)
			}
		})
	}
}

func (p *pipe) ack(reason wire.AckReason, serial wire.Serial) {
	p.unacked = 0
	p.ackSer++
	a := Ack{Serial: p.ackSer, For: serial, Reason: reason, First: p.next}
	for q := range p.got {
		for len(a.Acks) <= q.Sub(p.next) {
			a.Acks = append(a.Acks, 0)
		}
		a.Acks[q.Sub(p.next)] = 1
	}
	if p.drop() {
		return
	}
	p.after(p.flyTime(), func() {
		pr := p.s.OnAck(p.now, a)
		if pr.Arrived > 0 {
			p.maxWait = max(p.maxWait, p.now-p.last)
			p.last = p.now
		}
	})
}

// transfer sends n packets and returns how long that took.
func (p *pipe) transfer(t testing.TB, n int) Time {
	p.rng = rand.New(rand.NewPCG(uint64(n), 4711))
	p.got, p.next = map[wire.Seq]bool{}, 1
	p.now, p.last = Second, Second
	begin := p.now
	p.s.Reset(&p.path, p.now)
	p.s.SetPeerWindow(p.window)
	end := wire.Seq(n + 1)
	for steps := 0; p.s.Base() != end; steps++ {
		require.Less(t, steps, 4000*n+10000, "no end: %+v", p.s.Stats())
		p.fill(end)
		due, ok := p.s.Deadline()
		if len(p.events) > 0 && (!ok || p.events[0].at <= due) {
			e := heap.Pop(&p.events).(event)
			p.now = e.at
			e.run()
			continue
		}
		require.True(t, ok, "nothing will ever happen: %+v", p.s.Stats())
		p.now = max(p.now, due)
		action, _ := p.s.OnTimer(p.now)
		require.NotEqual(t, ActPing, action)
	}
	p.check(t)
	return p.now - begin
}

// fill sends what may be sent.
func (p *pipe) fill(end wire.Seq) {
	for {
		q, again := p.s.Lost()
		if !again {
			if q = p.s.Next(); q == end || p.s.Window() == 0 {
				p.s.SetMore(q != end)
				return
			}
		}
		p.s.SetMore(p.s.Next().Add(1).Before(end))
		ask := p.s.WantAck(p.now, 1, again, q+1 == end)
		p.serial++
		p.s.OnSend(p.now, Packet{Seq: q, Serial: p.serial, Size: DefaultData, Ask: ask, Last: q+1 == end})
		p.data(q, p.serial, ask)
	}
}

// check compares the counters with the packets.
func (p *pipe) check(t testing.TB) {
	var flight, lostN, soft int
	for q := p.s.base; q != p.s.next; q++ {
		switch p.s.at(q).state {
		case flying:
			flight++
		case lost:
			lostN++
		case acked:
			soft++
		}
	}
	st := p.s.Stats()
	assert.Equal(t, []int{flight, lostN, soft}, []int{st.Flight, st.Lost, st.Soft})
}

func speed(n int, d Time) float64 { return float64(n*DefaultData) / 1e6 / (float64(d) / 1e9) }

// TestPaths shows what is to be had on some paths.
func TestPaths(t *testing.T) {
	for _, c := range []struct {
		name string
		pipe
		packets int
		least   float64 // MB/s
	}{
		{"10ms", pipe{rtt: 10 * Millisecond}, 20000, 30},
		{"10ms 1%", pipe{rtt: 10 * Millisecond, loss: .01}, 20000, 15},
		{"50ms", pipe{rtt: 50 * Millisecond}, 20000, 6.5},
		{"50ms 1%", pipe{rtt: 50 * Millisecond, loss: .01}, 20000, 3},
		{"50ms 1% small", pipe{rtt: 50 * Millisecond, loss: .01}, 700, 1},
		{"50ms 3%", pipe{rtt: 50 * Millisecond, loss: .03}, 20000, .1},
		{"50ms 10%", pipe{rtt: 50 * Millisecond, loss: .1}, 5000, .05},
		{"50ms bursts", pipe{rtt: 50 * Millisecond, loss: .001, burst: 10}, 20000, 1},
		{"50ms swapped", pipe{rtt: 50 * Millisecond, swap: .05}, 20000, 5},
		{"50ms jitter", pipe{rtt: 50 * Millisecond, jitter: 10 * Millisecond}, 20000, 4},
		{"20ms duplicates", pipe{rtt: 20 * Millisecond, dup: .05}, 20000, 14},
		{"bottleneck, bdp buffer", pipe{rtt: 50 * Millisecond, rate: 1000, buffer: 50}, 10000, .9},
		{"bottleneck, small buffer", pipe{rtt: 50 * Millisecond, rate: 1000, buffer: 5}, 10000, .7},
		{"bottleneck, big buffer", pipe{rtt: 50 * Millisecond, rate: 1000, buffer: 1000}, 10000, 1.2},
		{"blackout", pipe{rtt: 50 * Millisecond, blackout: [2]Time{2 * Second, 4 * Second}}, 20000, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.pipe
			p.window = MaxWindow
			d := p.transfer(t, c.packets)
			st := p.s.Stats()
			line := fmt.Sprintf("%6.2f MB/s, %d sent, %d dropped, longest wait %d ms, %+v",
				speed(c.packets, d), p.sentN, p.dropped, p.maxWait/Millisecond, st)
			t.Log(line)
			assert.GreaterOrEqual(t, speed(c.packets, d), c.least, line)
		})
	}
}

// TestAgainstOpenAFS holds the two paths that performance is judged by against what OpenAFS can have
// at best: 32 packets of 1444 bytes per round trip, and where packets are lost what Reno
// has of that, 1.22 / sqrt(p) packets (Mathis et al. 1997).
func TestAgainstOpenAFS(t *testing.T) {
	const packet = 1444 / 1e6
	for _, c := range []struct {
		name   string
		pipe   pipe
		theirs float64 // MB/s
	}{
		{"10 ms", pipe{rtt: 10 * Millisecond}, 32 * packet / .010},
		{"50 ms, 1 %", pipe{rtt: 50 * Millisecond, loss: .01}, 12.2 * packet / .050},
	} {
		c.pipe.window = MaxWindow
		ours := speed(20000, c.pipe.transfer(t, 20000))
		t.Logf("%s: %.2f MB/s to %.2f, %.1f times", c.name, ours, c.theirs, ours/c.theirs)
		assert.GreaterOrEqual(t, ours, 4*c.theirs, c.name)
	}
}
