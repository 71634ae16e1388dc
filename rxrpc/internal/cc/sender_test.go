package cc

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// A bench is a Sender whose packets and ACKs a test makes by hand. Serials equal the
// order of transmission, from 101.
type bench struct {
	*testing.T
	s      Sender
	path   Path
	now    Time
	serial wire.Serial
	acks   wire.Serial
}

func newBench(t *testing.T, rtt Time) *bench {
	b := &bench{T: t, now: 100 * Second, serial: 100}
	if rtt > 0 {
		for range 8 {
			b.path.Sample(b.now, rtt)
		}
	}
	b.s.Reset(&b.path, b.now)
	b.s.SetPeerWindow(MaxWindow)
	b.s.SetMore(true)
	return b
}

// send sends n new packets.
func (b *bench) send(n int) {
	b.Helper()
	for range n {
		require.Positive(b, b.s.Window())
		b.serial++
		b.s.OnSend(b.now, Packet{Seq: b.s.Next(), Serial: b.serial, Size: 1412})
	}
}

// resend sends again what is to be sent again, and returns what that was.
func (b *bench) resend() (seqs []int) {
	for {
		q, ok := b.s.Lost()
		if !ok {
			return seqs
		}
		b.serial++
		b.s.OnSend(b.now, Packet{Seq: q, Serial: b.serial, Size: 1412, Ask: true})
		seqs = append(seqs, int(q))
	}
}

// ack acknowledges: first, and + and - for what follows.
func (b *bench) ack(first int, table string, reason wire.AckReason, answers wire.Serial) Progress {
	b.acks++
	a := Ack{Serial: b.acks, For: answers, Reason: reason, First: wire.Seq(first)}
	for _, c := range table {
		v := byte(0)
		if c == '+' {
			v = 1
		}
		a.Acks = append(a.Acks, v)
	}
	return b.s.OnAck(b.now, a)
}

// timer waits for the next deadline.
func (b *bench) timer() Action {
	b.Helper()
	due, ok := b.s.Deadline()
	require.True(b, ok)
	require.GreaterOrEqual(b, due, b.now)
	b.now = due
	a, _ := b.s.OnTimer(b.now)
	return a
}

func TestFirstWindow(t *testing.T) {
	b := newBench(t, 0)
	assert.Equal(t, InitialWindow, b.s.Window())
	b.send(10)
	assert.Zero(t, b.s.Window())
	b.now += 50 * Millisecond
	p := b.ack(4, "", wire.AckRequested, 103)
	assert.Equal(t, Progress{Hard: 3, Arrived: 3, Largest: 1412}, p)
	assert.Equal(t, 50*Millisecond, b.path.Smoothed(), "the ACK names the serial of packet 3")
	assert.Equal(t, 6, b.s.Window(), "slow start: three have left, and three more may")
}

func TestSampleOnlyFromSerials(t *testing.T) {
	for _, c := range []struct {
		reason  wire.AckReason
		answers wire.Serial
		samples int
	}{
		{wire.AckRequested, 101, 1},
		{wire.AckOutOfSequence, 101, 1},
		{wire.AckDuplicate, 101, 1},
		{wire.AckRequested, 0, 0},
		{wire.AckRequested, 99, 0},
		{wire.AckDelay, 101, 0},
		{wire.AckIdle, 101, 0},
	} {
		b := newBench(t, 0)
		b.send(1)
		b.now += 30 * Millisecond
		b.ack(2, "", c.reason, c.answers)
		assert.Equal(t, c.samples, b.path.Samples(), "%v for %d", c.reason, c.answers)
	}
	b := newBench(t, 0)
	b.send(2)
	require.Equal(t, ActProbe, b.timer())
	b.serial++
	b.s.OnSend(b.now, Packet{Seq: 2, Serial: b.serial, Size: 1412})
	b.now += 10 * Millisecond
	b.ack(3, "", wire.AckRequested, 102)
	assert.Zero(t, b.path.Samples(), "packet 2 was sent again since")
	b = newBench(t, 0)
	b.send(1)
	b.s.OnPing(b.now, 500)
	b.now += 10 * Millisecond
	b.ack(1, "-", wire.AckPingResponse, 500)
	assert.Equal(t, 10*Millisecond, b.path.Smoothed())
}

func TestLossByPacketsBeyond(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(10)
	b.now += 40 * Millisecond
	assert.Zero(t, b.ack(1, "-+", wire.AckOutOfSequence, 102).Lost)
	assert.Zero(t, b.ack(1, "-++", wire.AckOutOfSequence, 103).Lost)
	assert.Equal(t, 1, b.ack(1, "-+++", wire.AckOutOfSequence, 104).Lost, "three beyond: lost at once")
	assert.Equal(t, []int{1}, b.resend())
	assert.Equal(t, InitialWindow+3, b.s.Stats().Cwnd, "one loss among few is borne")
	b.now += 40 * Millisecond
	p := b.ack(9, "", wire.AckRequested, 111)
	assert.Equal(t, 8, p.Hard)
	assert.Equal(t, 5, p.Arrived)
	assert.Equal(t, 2, p.Lost, "what was sent before the retransmission")
	assert.Equal(t, 255, b.s.Stats().Ssthresh, "is borne too")
}

func TestLossByTime(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(2)
	b.now += 40 * Millisecond
	b.ack(1, "-+", wire.AckOutOfSequence, 102)
	due, ok := b.s.Deadline()
	require.True(t, ok)
	assert.Equal(t, b.now+10*Millisecond, due, "a quarter of the round trip is for reordering")
	require.Equal(t, ActNone, b.timer())
	assert.Equal(t, []int{1}, b.resend())
}

func TestReorderingIsNoLoss(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(6)
	b.now += 40 * Millisecond
	b.ack(1, "-+", wire.AckOutOfSequence, 102)
	b.now += Millisecond
	b.ack(3, "", wire.AckRequested, 101) // it was only late
	b.now += Millisecond
	assert.Zero(t, b.ack(3, "-+++", wire.AckOutOfSequence, 106).Lost, "packets overtake each other here: wait")
	b.now += 5 * Millisecond
	b.ack(7, "", wire.AckRequested, 103)
	assert.Zero(t, b.s.Stats().Resent)
}

func TestRetransmissionLost(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(6)
	b.now += 40 * Millisecond
	b.ack(1, "-+++", wire.AckOutOfSequence, 104)
	require.Equal(t, []int{1}, b.resend()) // serial 107
	b.send(4)                              // 108 to 111
	b.now += 40 * Millisecond
	p := b.ack(1, "-+++++++++", wire.AckOutOfSequence, 111)
	assert.Equal(t, 1, p.Lost, "what was sent after the retransmission has arrived")
	assert.Equal(t, []int{1}, b.resend())
}

func TestSoftAckTakenBack(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(4)
	b.now += 40 * Millisecond
	b.ack(1, "++++", wire.AckRequested, 104)
	assert.True(t, b.s.Arrived())
	_, ok := b.s.Deadline()
	assert.False(t, ok)
	b.now += 10 * Second
	b.ack(1, "++-+", wire.AckRequested, 0)
	assert.False(t, b.s.Arrived())
	assert.Equal(t, []int{3}, b.resend())
	b.now += 40 * Millisecond
	b.ack(5, "", wire.AckRequested, 105)
	assert.Equal(t, wire.Seq(5), b.s.Base())
}

func TestOldAckTakesNothingBack(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(6)
	b.now += 40 * Millisecond
	b.s.OnAck(b.now, Ack{Serial: 9, For: 104, Reason: wire.AckRequested, First: 2, Acks: []byte{1, 0, 1}})
	b.s.OnAck(b.now, Ack{Serial: 8, For: 102, Reason: wire.AckRequested, First: 1, Acks: []byte{1, 0, 0, 0}})
	assert.Equal(t, 2, b.s.Stats().Soft)
	p := b.s.OnAck(b.now, Ack{Serial: 7, For: 105, Reason: wire.AckRequested, First: 2, Acks: []byte{0, 0, 0, 1}})
	assert.Equal(t, 1, p.Arrived, "an old ACK tells what arrived nevertheless")
	assert.Equal(t, 3, b.s.Stats().Soft)
}

func TestAckOfWhatWasNotSent(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(2)
	b.now += 40 * Millisecond
	p := b.ack(1000, "+++++", wire.AckRequested, 102)
	assert.Equal(t, 2, p.Hard)
	assert.Equal(t, wire.Seq(3), b.s.Base())
	p = b.ack(1, "---+++", wire.AckRequested, 102)
	assert.Zero(t, p)
	assert.Zero(t, b.s.Stats().Flight)
}

func TestCongestionCutsOncePerRound(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.s.cwnd, b.s.ssthresh = 100, 100
	b.send(100)
	b.now += 40 * Millisecond
	table := make([]byte, 60)
	for i := range table {
		table[i] = "-+"[i&1]
	}
	p := b.ack(1, string(table), wire.AckOutOfSequence, 160)
	assert.Equal(t, 30, p.Lost)
	st := b.s.Stats()
	assert.Equal(t, 70, st.Ssthresh)
	b.resend()
	b.now += 10 * Millisecond
	b.ack(1, string(table)+"-+-+-+-+-+", wire.AckOutOfSequence, 170)
	assert.Equal(t, 70, b.s.Stats().Ssthresh, "the same round")
	b.resend()
	sentIn := b.s.Stats().Resent
	assert.LessOrEqual(t, sentIn, 40, "no more than has left")
	b.now += 40 * Millisecond
	for q, ok := b.s.Lost(); ok; q, ok = b.s.Lost() {
		b.serial++
		b.s.OnSend(b.now, Packet{Seq: q, Serial: b.serial, Size: 1412})
	}
	b.s.OnAckAll(b.now)
	assert.InDelta(t, 74, b.s.Stats().Cwnd, 4, "0.7 of it, and what has grown since")
}

func TestLossWithQueueIsCongestion(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.s.cwnd, b.s.ssthresh = 100, 50
	for range 4 { // round trips grow
		b.send(3)
		b.now += 80 * Millisecond
		b.ack(int(b.s.Next())-2, "", wire.AckRequested, b.serial-2)
		b.ack(int(b.s.Next())-1, "", wire.AckRequested, b.serial-1)
		b.ack(int(b.s.Next()), "", wire.AckRequested, b.serial)
	}
	b.send(5)
	b.now += 80 * Millisecond
	first := int(b.s.Base())
	p := b.ack(first, "-++++", wire.AckOutOfSequence, b.serial)
	assert.Equal(t, 1, p.Lost)
	assert.Equal(t, 70, b.s.Stats().Ssthresh)
}

func TestNeedlessRetransmissionGivesBack(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.s.cwnd, b.s.ssthresh, b.s.credit = 50, 50, 0
	b.send(20)
	b.now += 40 * Millisecond
	b.ack(1, "-++++", wire.AckOutOfSequence, 105)
	require.Equal(t, 35, b.s.Stats().Ssthresh)
	require.Equal(t, []int{1}, b.resend())
	again := b.serial
	b.now += 40 * Millisecond
	b.ack(6, "", wire.AckRequested, 101) // the first transmission
	b.now += 40 * Millisecond
	b.ack(6, "", wire.AckDuplicate, again)
	st := b.s.Stats()
	assert.Equal(t, 50, st.Ssthresh)
	assert.GreaterOrEqual(t, st.Cwnd, 50)
	assert.Equal(t, 1, st.Spurious)
	assert.Equal(t, Time(2), b.s.rack.mult, "packets are given more time from now on")
}

func TestTooShortForARoundTrip(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(10)
	require.Equal(t, ActProbe, b.timer())
	b.s.OnSend(b.now, Packet{Seq: 11, Serial: 111, Size: 1412, Ask: true})
	require.Equal(t, ActTimeout, b.timer())
	assert.Equal(t, 1, b.s.Stats().Cwnd)
	b.serial = 111
	require.Equal(t, []int{1}, b.resend())
	b.now += 5 * Millisecond // no packet returns so fast: it was the path that was slow
	b.ack(2, "", wire.AckDelay, 0)
	assert.GreaterOrEqual(t, b.s.Stats().Cwnd, InitialWindow)
	assert.Zero(t, b.s.Stats().Lost, "what was given up is under way again")
}

func TestTailProbe(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(3)
	b.s.SetMore(false)
	sent := b.now
	require.Equal(t, ActProbe, b.timer())
	assert.Equal(t, 2*40*Millisecond+ackDelay, b.now-sent, "two round trips and the peer's delay")
	q, ok := b.s.Lost()
	require.True(t, ok)
	assert.Equal(t, wire.Seq(3), q, "the last one: its ACK tells of the others")
	assert.Equal(t, []int{3}, b.resend())
	b.now += 40 * Millisecond
	p := b.ack(1, "--+", wire.AckOutOfSequence, 104)
	assert.Equal(t, 2, p.Lost)
	assert.Equal(t, []int{1, 2}, b.resend())
	assert.Zero(t, b.s.Stats().Timeouts)

	b = newBench(t, 40*Millisecond)
	b.send(10)
	require.Zero(t, b.s.Window())
	require.Equal(t, ActProbe, b.timer())
	assert.Equal(t, 1, b.s.Window(), "something new, beyond the window")
	_, ok = b.s.Lost()
	assert.False(t, ok)
	b.send(1)
	assert.Zero(t, b.s.Window())
}

func TestTimeoutBacksOff(t *testing.T) {
	b := newBench(t, 0)
	b.send(1)
	b.s.SetMore(false)
	at := b.now
	require.Equal(t, ActProbe, b.timer())
	assert.Equal(t, InitialRTO+ackDelay, b.now-at)
	b.resend()
	var waits []Time
	for range 9 {
		at = b.now
		require.Equal(t, ActTimeout, b.timer())
		waits = append(waits, (b.now-at)/Millisecond)
		require.Equal(t, []int{1}, b.resend())
	}
	assert.Equal(t, []Time{1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000}, waits)
	n, ago := b.s.Stalled(b.now)
	assert.Equal(t, 9, n)
	assert.Greater(t, ago, 240*Second)
	b.now += 10 * Millisecond
	b.ack(2, "", wire.AckRequested, b.serial)
	assert.Zero(t, b.s.Stats().Backoff)
	n, _ = b.s.Stalled(b.now)
	assert.Zero(t, n)
}

func TestLastOfRequestIsGivenTime(t *testing.T) {
	b := newBench(t, 10*Millisecond)
	b.s.SetMore(false)
	b.serial++
	b.s.OnSend(b.now, Packet{Seq: 1, Serial: b.serial, Size: 10, Last: true})
	at := b.now
	require.Equal(t, ActProbe, b.timer())
	assert.Equal(t, 20*Millisecond+ackDelay, b.now-at)
	at = b.now
	require.Equal(t, ActTimeout, b.timer())
	assert.Equal(t, MinRTO+lastDelay, b.now-at)
}

func TestClosedWindow(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(2)
	b.now += 40 * Millisecond
	b.s.SetPeerWindow(0)
	b.ack(3, "", wire.AckRequested, 102)
	assert.Zero(t, b.s.Window())
	at := b.now
	require.Equal(t, ActPing, b.timer(), "nothing is under way, and the ACK that opens the window may be lost")
	b.s.OnPing(b.now, 900)
	first := b.now - at
	at = b.now
	require.Equal(t, ActPing, b.timer())
	assert.Equal(t, 2*first, b.now-at)
	b.s.SetPeerWindow(5)
	assert.Equal(t, 5, b.s.Window())
	_, ok := b.s.Deadline()
	assert.False(t, ok)
	b.s.SetPeerWindow(1 << 30)
	assert.LessOrEqual(t, b.s.Window(), MaxWindow)
	b.s.SetPeerWindow(-1)
	assert.Zero(t, b.s.Window())
}

func TestPeerWindowCountsFromHardAck(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.s.SetPeerWindow(4)
	b.send(4)
	b.now += 40 * Millisecond
	b.ack(1, "++++", wire.AckRequested, 104)
	assert.Zero(t, b.s.Window(), "the peer holds four and has room for four")
	require.Equal(t, ActPing, b.timer())
	b.ack(3, "++", wire.AckIdle, 0)
	assert.Equal(t, 2, b.s.Window())
}

func TestAckAll(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.send(7)
	b.now += Second
	p := b.s.OnAckAll(b.now)
	assert.Equal(t, 7, p.Hard)
	assert.True(t, b.s.Arrived())
	assert.Equal(t, 8, b.path.Samples(), "of when it arrived nothing is said")
	_, ok := b.s.Deadline()
	assert.False(t, ok)
}

func TestIdleRestart(t *testing.T) {
	b := newBench(t, 40*Millisecond)
	b.s.cwnd = 200
	b.send(1)
	b.now += 40 * Millisecond
	b.ack(2, "", wire.AckRequested, 101)
	b.now += 500 * Millisecond
	b.send(1)
	assert.Equal(t, 50, b.s.Stats().Cwnd, "two time-outs of 200 ms have passed")
	b.now += 40 * Millisecond
	b.ack(3, "", wire.AckRequested, 102)
	b.now += 100 * Second
	b.send(1)
	assert.Equal(t, InitialWindow, b.s.Stats().Cwnd)
}

func TestWantAck(t *testing.T) {
	b := newBench(t, Millisecond)
	b.path.Asked(b.now)
	b.s.cwnd = 100
	assert.True(t, b.s.WantAck(b.now, 1, true, false), "again")
	assert.False(t, b.s.WantAck(b.now, 1, false, true), "the last")
	assert.False(t, b.s.WantAck(b.now, 1, false, false))
	assert.True(t, b.s.WantAck(b.now+Second, 1, false, true), "no sample for a second")
	b.s.SetMore(false)
	assert.True(t, b.s.WantAck(b.now, 1, false, false), "nothing follows")
	b.s.SetMore(true)
	b.s.SetPeerWindow(2)
	assert.True(t, b.s.WantAck(b.now, 1, false, false))
	b.s.SetPeerWindow(255)
	asked := 0
	for range 96 {
		ask := b.s.WantAck(b.now, 1, false, false)
		if ask {
			asked++
		}
		b.serial++
		b.s.OnSend(b.now, Packet{Seq: b.s.Next(), Serial: b.serial, Size: 1412, Ask: ask})
	}
	assert.Equal(t, 8, asked, "eight times per window")
}
