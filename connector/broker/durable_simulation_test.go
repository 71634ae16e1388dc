package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/connector/internal/frame"
)

// durableWorld is some hosts with senders, and receivers that come, go, move to other hosts and do not read.
type durableWorld struct {
	*siteSim
	seed      uint64
	rnd       *rand.Rand
	senders   []*durableSender
	receivers []*durableRead
	said      map[uint64]string // by position, what anybody got there
}

type durableSender struct {
	*peer
	host *hostSim
	n    int
	acks int
}

// durableRead is a receiver that knows its place.
type durableRead struct {
	*peer
	host    *hostSim
	epoch   uint64
	pos     uint64
	began   bool
	joining bool
	got     uint64
	lost    uint64
	start   uint64 // position before the first it was to get
	last    map[string]int
}

// TestDurableSimulation: every receiver gets, or is told as lost, every position once and in order, and at a position
// everybody gets the same.
func TestDurableSimulation(t *testing.T) {
	for seed := range uint64(120) {
		simulateDurable(t, seed)
	}
}

func simulateDurable(t *testing.T, seed uint64) {
	keep := []int{40, 400, 1 << 20}[seed%3]
	w := &durableWorld{siteSim: newSiteSim(t, 3, durablePolicy(t, keep)), seed: seed, rnd: rand.New(rand.NewPCG(seed, 3)), said: make(map[uint64]string)}
	for _, h := range w.hosts {
		h.h.tune = tuning{queue: 3000, replies: 9000, overrun: 2000, window: 4000, waits: 64, hello: 10e9, bye: 5e9}
		w.senders = append(w.senders, &durableSender{peer: h.root(), host: h})
	}
	for i := range 5 {
		r := &durableRead{host: w.hosts[i%3], last: make(map[string]int)}
		w.receivers = append(w.receivers, r)
		w.come(r)
	}
	for range 800 {
		w.step()
	}
	for range 400 {
		for _, s := range w.senders {
			w.takeAcks(s)
		}
		for _, r := range w.receivers {
			if r.peer == nil {
				w.come(r)
			}
			r.write(frame.Header{Type: frame.Resume})
			w.receive(r, 1<<30)
		}
		w.carry()
	}
	last := w.kept[durableGroup].last()
	for i, r := range w.receivers {
		require.Equal(t, last, r.pos, "seed %d: receiver %d", seed, i)
		require.Equal(t, last-r.start, r.got+r.lost, "seed %d: receiver %d", seed, i)
		if keep == 1<<20 {
			require.Zero(t, r.lost, "seed %d: receiver %d", seed, i)
		}
		r.host.h.close(r.c)
	}
	for _, s := range w.senders {
		require.Zero(t, s.acks, "seed %d", seed)
		s.host.h.close(s.c)
	}
	w.carry()
	for _, h := range w.hosts {
		require.Empty(t, h.h.groups, "seed %d", seed)
		require.Empty(t, h.h.accounts, "seed %d", seed)
		require.Zero(t, h.read[durableGroup], "seed %d: nobody is here for whom it is read", seed)
	}
}

// come joins where the receiver was, or for the first time.
func (w *durableWorld) come(r *durableRead) {
	r.peer = r.host.root()
	r.joining = true
	if !r.began {
		r.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup})
		return
	}
	r.write(frame.Header{Type: frame.Join, Tag: 1, Group: durableGroup, Flags: frame.FlagAt, Pos: r.pos}, frame.AppendU64s(nil, r.epoch)...)
}

func (w *durableWorld) step() {
	r := w.receivers[w.rnd.IntN(len(w.receivers))]
	switch n := w.rnd.IntN(100); {
	case n < 35: // some of what the bridges have
		h := w.hosts[w.rnd.IntN(len(w.hosts))]
		h.turn()
		for range min(len(h.queue), w.rnd.IntN(40)) {
			f := h.queue[0]
			h.queue = h.queue[1:]
			f()
		}
	case n < 60:
		s := w.senders[w.rnd.IntN(len(w.senders))]
		w.takeAcks(s)
		for range 1 + w.rnd.IntN(8) {
			if s.c.paused || len(s.buf) > 0 {
				break
			}
			hd := frame.Header{Group: durableGroup, Tag: uint32(s.n)}
			if w.rnd.IntN(2) == 0 {
				hd.Flags = frame.FlagAck
				s.acks++
			}
			s.send(hd, id1, fmt.Sprintf("%d %06d %s", s.host.num, s.n, slices.Repeat([]byte("x"), w.rnd.IntN(200))))
			s.n++
		}
	case r.peer == nil:
		w.come(r)
	case n < 90:
		w.receive(r, w.rnd.IntN(4000))
	case n < 93:
		r.write(frame.Header{Type: frame.Hold})
	case n < 96:
		r.write(frame.Header{Type: frame.Resume})
	default: // it dies, and will go on elsewhere
		r.host.h.close(r.c)
		r.peer, r.host = nil, w.hosts[w.rnd.IntN(len(w.hosts))]
	}
}

func (w *durableWorld) takeAcks(s *durableSender) {
	for _, f := range s.read() {
		switch f.Type {
		case frame.Ack:
			require.Zero(w.t, f.Code, "seed %d: %s", w.seed, f.body)
			s.acks--
		case frame.Stop, frame.Go:
		default:
			require.Failf(w.t, "frame", "seed %d: type %d", w.seed, f.Type)
		}
	}
}

func (w *durableWorld) receive(r *durableRead, n int) {
	r.take(n)
	for _, f := range r.parse() {
		switch f.Type {
		case frame.Ack:
			require.Zero(w.t, f.Code, "seed %d: %s", w.seed, f.body)
			r.joining = false
			if !r.began {
				r.began, r.pos, r.start = true, f.Pos, f.Pos
			}
			require.NoError(w.t, frame.ParseU64s(f.body, &r.epoch))
		case frame.Lost:
			require.Zero(w.t, f.Flags, "seed %d: its number is known", w.seed)
			r.pos += f.Pos
			r.lost += f.Pos
		case frame.Msg:
			require.False(w.t, r.joining, "seed %d: a message before the join was answered", w.seed)
			require.Equal(w.t, r.pos+1, f.Pos, "seed %d", w.seed)
			r.pos = f.Pos
			r.got++
			text, known := w.said[f.Pos]
			require.True(w.t, !known || text == f.data(), "seed %d: position %d", w.seed, f.Pos)
			w.said[f.Pos] = f.data()
			var host string
			var num int
			_, err := fmt.Sscanf(f.data(), "%s %d", &host, &num)
			require.NoError(w.t, err)
			before, seen := r.last[host]
			require.True(w.t, !seen || num > before, "seed %d: order of host %s", w.seed, host)
			r.last[host] = num
		default:
			require.Failf(w.t, "frame", "seed %d: type %d", w.seed, f.Type)
		}
	}
}
