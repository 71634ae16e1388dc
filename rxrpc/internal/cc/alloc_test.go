//go:build !race

package cc

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
)

// TestNoAllocations: a call of a few packets needs no memory of its own, a large one no more
// once its window has grown.
func TestNoAllocations(t *testing.T) {
	b := newBench(t, Millisecond)
	b.s.cwnd = 200
	table := make([]byte, 100)
	for i := range table {
		table[i] = 1
	}
	round := func() {
		b.now += Second / 2
		b.s.cwnd = 200
		for range 150 {
			b.serial++
			b.s.OnSend(b.now, Packet{Seq: b.s.Next(), Serial: b.serial, Size: 1412})
		}
		b.now += Millisecond
		b.acks++
		table[3] = 0
		b.s.OnAck(b.now, Ack{Serial: b.acks, For: b.serial, Reason: wire.AckRequested, First: b.s.Base(), Acks: table})
		b.resendQuietly()
		b.s.Deadline()
		b.now += Second / 4
		b.s.OnTimer(b.now)
		b.s.OnAckAll(b.now)
		b.s.Done(b.now)
		b.s.Reset(&b.path, b.now)
		b.s.SetPeerWindow(255)
		b.serial += 10
	}
	round()
	assert.Zero(t, testing.AllocsPerRun(20, round))
	var s Sender
	small := func() {
		s.Reset(&b.path, b.now)
		for q := wire.Seq(1); q <= 4; q++ {
			s.OnSend(b.now, Packet{Seq: q, Serial: wire.Serial(q)})
		}
		s.OnAckAll(b.now)
	}
	assert.Zero(t, testing.AllocsPerRun(20, small))
}

func (b *bench) resendQuietly() {
	for q, ok := b.s.Lost(); ok; q, ok = b.s.Lost() {
		b.serial++
		b.s.OnSend(b.now, Packet{Seq: q, Serial: b.serial, Size: 1412, Ask: true})
	}
}
