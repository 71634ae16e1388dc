package broker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// TestSimulation runs clients that publish, send, stop reading, hold, leave
// and die at random, and checks each receiver's stream: every message is there, once
// and in order, or counted in a Lost at the very place where it is missing.
// CNBUS_SEED=n replays one seed alone.
func TestSimulation(t *testing.T) {
	if s := os.Getenv("CNBUS_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		simulate(t, seed)
		return
	}
	for seed := range uint64(500) {
		simulate(t, seed)
		if t.Failed() {
			t.Logf("replay with CNBUS_SEED=%d", seed)
			return
		}
	}
}

// flow is what one sender sends to one destination, numbered from 1.
type flow struct {
	from   *simPeer
	group  uint32
	id     cbid.ID
	wait   bool
	next   uint32
	expect map[*simPeer]*uint32 // last number each receiver has accounted for
	lonely bool                 // its last receiver died at some time
}

type simPeer struct {
	*peer
	n       int
	id      cbid.ID
	flows   []*flow
	dead    bool
	stopped map[string]bool
	sending *flow // whose last message waits in buf while paused
}

type world struct {
	*sim
	rnd   *rand.Rand
	peers []*simPeer
	flows map[uint64]*flow // by port of the sender and seq of its messages (the flow's number)
	seed  uint64
	lost  int
	msgs  int
}

func simulate(t *testing.T, seed uint64) {
	s := newSim(t, nil)
	s.h.tune = tuning{queue: 3000, replies: 9000, overrun: 2000, waits: 64, hello: 10e9, bye: 5e9}
	w := &world{sim: s, rnd: rand.New(rand.NewPCG(seed, 1)), flows: make(map[uint64]*flow), seed: seed}
	for range 3 + w.rnd.IntN(5) {
		w.join()
	}
	for range 300 + w.rnd.IntN(700) {
		w.step()
	}
	// In the end everyone reads: nothing may be missing.
	for range 50 {
		for _, p := range w.peers {
			if !p.dead {
				p.write(frame.Header{Type: frame.Resume})
				w.receive(p, 1<<30)
			}
		}
	}
	for _, f := range w.flows {
		for p, last := range f.expect {
			if !p.dead && !f.from.dead {
				require.Equal(t, f.next, *last, "seed %d: flow of peer %d (%v) at peer %d: paused %v, %d bytes wait, stopped %v, %d queued", seed, f.from.n, f.name(), p.n, f.from.c.paused, len(f.from.buf), f.from.stopped, p.c.out.len())
			}
		}
	}
	for _, p := range w.peers {
		if !p.dead {
			require.Empty(t, p.stopped, "seed %d: peer %d was never told Go", seed, p.n)
			require.False(t, p.c.paused)
			s.h.close(p.c)
		}
	}
	require.Empty(t, s.h.conns)
	require.Empty(t, s.h.ids)
	require.Empty(t, s.h.byIdx)
	require.Zero(t, s.h.watch.Watchers())
	for _, g := range s.h.groups {
		require.Empty(t, g.members)
	}
	for _, a := range s.h.accounts {
		require.Zero(t, [5]int{a.conns, a.regs, a.members, a.watches, int(a.queued)}, "seed %d", seed)
	}
}

func (f *flow) name() string {
	if f.group != 0 {
		return fmt.Sprintf("group %d", f.group)
	}
	return f.id.String()
}

// join adds a peer with an id, two publishing flows and memberships. Each
// group has one publisher, so that a loss has one place.
func (w *world) join() {
	p := &simPeer{peer: w.root(), n: len(w.peers) + 1, stopped: make(map[string]bool)}
	p.id = cbid.Make(uint32(1000+p.n), 1)
	p.add(p.id, "sim")
	p.flows = []*flow{{from: p, group: uint32(100 + p.n), wait: p.n%3 == 0}, {from: p, group: uint32(200 + p.n)}}
	if p.n%2 == 0 {
		p.write(frame.Header{Type: frame.History, Group: p.flows[1].group}, frame.AppendU64s(nil, 1+uint64(w.rnd.IntN(60)), 0, 0)...)
		require.Zero(w.t, p.code())
	}
	for _, q := range w.peers {
		if q.dead {
			continue
		}
		// Unicast both ways.
		for _, pair := range [][2]*simPeer{{p, q}, {q, p}} {
			zero := uint32(0)
			f := &flow{from: pair[0], id: pair[1].id, expect: map[*simPeer]*uint32{pair[1]: &zero}}
			pair[0].flows = append(pair[0].flows, f)
		}
		for _, f := range q.flows[:2] {
			w.member(p, f)
		}
		for _, f := range p.flows[:2] {
			w.member(q, f)
		}
	}
	for _, q := range append(w.peers, p) {
		for i, f := range q.flows {
			w.flows[uint64(q.c.port)<<32|uint64(i)] = f
		}
	}
	w.peers = append(w.peers, p)
}

func (w *world) member(p *simPeer, f *flow) {
	if f.expect == nil {
		f.expect = make(map[*simPeer]*uint32)
	}
	if p.c.paused || len(p.buf) > 0 {
		return // its Join would come later than the test thinks
	}
	p.write(frame.Header{Type: frame.Join, Group: f.group})
	last := f.next
	if len(f.from.buf) > 0 && f.from.sending == f {
		last-- // not published yet
	}
	f.expect[p] = &last
	w.receive(p, 1<<30)
}

func (w *world) step() {
	p := w.peers[w.rnd.IntN(len(w.peers))]
	if p.dead {
		return
	}
	switch n := w.rnd.IntN(100); {
	case n < 60:
		i := w.rnd.IntN(len(p.flows))
		for range 1 + w.rnd.IntN(20) {
			w.publish(p, i)
		}
	case n < 90:
		w.receive(p, w.rnd.IntN(4000))
	case n < 93:
		p.write(frame.Header{Type: frame.Hold})
	case n < 96:
		p.write(frame.Header{Type: frame.Resume})
	case n < 97 && len(w.peers) < 12:
		w.join()
	case n < 98 && len(w.peers) > 3:
		p.dead = true
		w.h.close(p.c)
		w.settle()
		for _, q := range w.peers {
			for _, f := range q.flows {
				delete(f.expect, p)
				f.lonely = f.lonely || len(f.expect) == 0
			}
		}
	}
}

func (w *world) publish(p *simPeer, i int) {
	f := p.flows[i]
	if p.c.paused || len(p.buf) > 0 || p.stopped[f.name()] && w.rnd.IntN(10) > 0 {
		return // one in ten goes on after Stop, as a bad client does
	}
	if f.group == 0 {
		for q := range f.expect {
			if q.dead {
				return
			}
		}
	}
	if len(f.expect) == 0 {
		return
	}
	f.next++
	data := make([]byte, 4+w.rnd.IntN(300))
	binary.NativeEndian.PutUint32(data, f.next)
	h := frame.Header{Group: f.group}
	if f.wait {
		h.Flags = frame.FlagWait
	}
	p.sending = f
	p.raw(msg(h, f.id, uint32(i), 0, string(data)))
}

// receive moves n bytes to p and checks what it got.
func (w *world) receive(p *simPeer, n int) {
	for n > 0 && p.c.out.len() > 0 {
		k := min(n, p.c.out.len())
		p.take(k)
		n -= k
	}
	for _, g := range p.parse() {
		switch g.Type {
		case frame.Stop, frame.Go:
			key := stopName(g)
			require.Equal(w.t, g.Type == frame.Go, p.stopped[key], "seed %d: %v %s", w.seed, g.Type, key)
			if g.Type == frame.Stop {
				p.stopped[key] = true
			} else {
				delete(p.stopped, key)
			}
		case frame.Msg:
			f := w.flows[uint64(g.Port)<<32|uint64(native.Uint32(g.body[24:]))]
			num := native.Uint32(g.body[connector.HeaderLen:])
			last := f.expect[p]
			require.Equal(w.t, *last+1, num, "seed %d: flow %s at peer %d", w.seed, f.name(), p.n)
			*last = num
			w.msgs++
		case frame.Lost:
			w.lost += int(g.Pos)
			require.NotZero(w.t, g.Group, "seed %d: unicast is never lost", w.seed)
			for _, f := range w.flows {
				if f.group == g.Group {
					require.False(w.t, f.wait, "seed %d: a waiting flow lost", w.seed)
					*f.expect[p] += uint32(g.Pos)
				}
			}
		case frame.Fail:
			// Only what waited when its last receiver died.
			f := p.flows[native.Uint32(g.body[24:])]
			require.True(w.t, f.lonely, "seed %d: flow %s failed with code %d", w.seed, f.name(), g.Code)
		case frame.Bye:
			require.Failf(w.t, "bye", "seed %d: %s", w.seed, g.body)
		}
	}
}

func stopName(g got) string {
	if g.Group != 0 {
		return fmt.Sprintf("group %d", g.Group)
	}
	id, _, _ := frame.ParseID(g.body)
	return id.String()
}
