package proto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cnbus/cnbus/rxrpc/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A loop is two endpoints back to back: what one sends the other receives at once. It allocates
// nothing itself.
type loop struct {
	t              testing.TB
	now            Time
	client, server *Endpoint
	buf            []byte
	params         CallParams
	reply          []byte
	left           int // bytes of reply to send
	ended          int
	got            int
}

func newLoop(t testing.TB, cfg Config) *loop {
	cfg.Rand = newRand(1)
	l := &loop{t: t, now: 1, client: New(cfg, 1), server: New(cfg, 1), buf: make([]byte, MaxDatagram)}
	_, err := l.server.Listen(l.now, ServiceParams{IDs: []wire.ServiceID{testService}, Accept: AcceptAuto})
	require.NoError(t, err)
	l.params = CallParams{Peer: serverAddr, Service: testService}
	return l
}

func (l *loop) move(from, to *Endpoint, addr netip.AddrPort) bool {
	any := false
	for {
		n, _, ok := from.Transmit(l.now, l.buf)
		if !ok {
			return any
		}
		any = true
		l.now += 1000
		to.Receive(l.now, addr, l.buf[:n])
	}
}

// run exchanges until nothing is left to do.
func (l *loop) run() {
	for {
		busy := l.move(l.client, l.server, clientAddr)
		for {
			ev, ok := l.server.Event()
			if !ok {
				break
			}
			l.serve(ev)
			busy = true
		}
		busy = l.move(l.server, l.client, serverAddr) || busy
		for {
			ev, ok := l.client.Event()
			if !ok {
				break
			}
			l.take(ev.Call)
			if ev.What.Has(Ended) {
				l.ended++
				ev.Call.Release(l.now)
			}
			busy = true
		}
		if !busy {
			return
		}
	}
}

func (l *loop) take(c *Call) (last bool) {
	for {
		b, end, ok := c.Take()
		if !ok {
			return last
		}
		l.got += len(b.Bytes())
		c.Consumed(l.now, b.Packets())
		b.Release()
		last = last || end
	}
}

func (l *loop) serve(ev Event) {
	c := ev.Call
	if l.take(c) {
		l.left = len(l.reply)
	}
	if ev.What.Has(Ended) {
		c.Release(l.now)
		return
	}
	if c.State() == AckRequest || c.State() == SendReply {
		n, _ := c.Send(l.now, l.reply[len(l.reply)-l.left:], false)
		l.left -= n
	}
}

func (l *loop) call(request []byte) {
	c, err := l.client.NewCall(l.now, &l.params)
	if err != nil {
		l.t.Fatal(err)
	}
	ended := l.ended
	for {
		n, err := c.Send(l.now, request, false)
		if err != nil {
			l.t.Fatal(err)
		}
		request = request[n:]
		if len(request) == 0 {
			break
		}
		l.run()
	}
	for l.run(); l.ended == ended; l.run() {
		// Whatever timers wait for, a PING at the end of a probe say.
		l.now = l.now.Add(100 * time.Millisecond)
		l.client.Tick(l.now)
		l.server.Tick(l.now)
	}
}

func TestASmallCallAllocatesNothing(t *testing.T) {
	l := newLoop(t, Config{})
	l.reply = []byte{1, 2, 3, 4}
	req := []byte{5, 6, 7, 8}
	for range 2000 {
		l.call(req)
	}
	if raceDetector {
		return
	}
	assert.Zero(t, testing.AllocsPerRun(2000, func() { l.call(req) }))
}

func TestBulkAllocatesNothingPerPacket(t *testing.T) {
	for _, mtu := range []int{1500, 65535} {
		l := newLoop(t, Config{MTU: MTU{Interface: mtu}})
		l.reply = pattern(1 << 20)
		req := pattern(1 << 20)
		for range 5 {
			l.call(req)
		}
		if mtu > 1500 {
			assert.NotZero(t, l.client.stats.JumboOut)
			assert.NotZero(t, l.server.stats.JumboOut)
		}
		if raceDetector {
			continue
		}
		n := testing.AllocsPerRun(5, func() { l.call(req) })
		assert.Less(t, n, 5.0, "1500 packets, MTU %d", mtu)
	}
}

func BenchmarkSmallCall(b *testing.B) {
	l := newLoop(b, Config{})
	l.reply = []byte{1, 2, 3, 4}
	req := []byte{5, 6, 7, 8}
	b.ReportAllocs()
	for b.Loop() {
		l.call(req)
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, mtu := range []int{1500, 65535} {
		b.Run(time.Duration(mtu).String(), func(b *testing.B) {
			l := newLoop(b, Config{MTU: MTU{Interface: mtu}})
			req := make([]byte, 10<<20)
			b.SetBytes(int64(len(req)))
			b.ReportAllocs()
			for b.Loop() {
				l.call(req)
			}
		})
	}
}
