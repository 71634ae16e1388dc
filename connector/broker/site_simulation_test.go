package broker

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// TestSiteSimulation is TestSimulation over several hosts whose bridges carry what they have whenever they like:
// unicast to ids and ports of any host arrives once and in order, and so does what is published, or its loss.
func TestSiteSimulation(t *testing.T) {
	if s := os.Getenv("CNBUS_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		simulateSite(t, seed)
		return
	}
	for seed := range uint64(150) {
		simulateSite(t, seed)
		if t.Failed() {
			t.Logf("replay with CNBUS_SEED=%d", seed)
			return
		}
	}
}

// siteFlow is what one peer sends to one destination.
type siteFlow struct {
	from  *sitePeer
	to    *sitePeer // nil: a group
	id    bool      // by its id, else by its port
	group uint32
	wait  bool
	next  uint32
}

type sitePeer struct {
	*peer
	host    *hostSim
	id      cbid.ID
	flows   []*siteFlow
	last    map[*siteFlow]uint32
	stopped map[string]bool
	dead    bool
	acks    int
}

type siteWorld struct {
	*siteSim
	seed  uint64
	rnd   *rand.Rand
	peers []*sitePeer
	flows map[uint64]*siteFlow // by port of the sender, and number
	msgs  int
}

func simulateSite(t *testing.T, seed uint64) {
	w := &siteWorld{siteSim: newSiteSim(t, 3, nil), seed: seed, rnd: rand.New(rand.NewPCG(seed, 2)), flows: make(map[uint64]*siteFlow)}
	for _, h := range w.hosts {
		h.h.tune = tuning{queue: 3000, replies: 9000, overrun: 2000, window: 4000, waits: 64, hello: 10e9, bye: 5e9}
	}
	for i := range 6 {
		w.join(i)
	}
	w.connect()
	for range 600 {
		w.step()
	}
	for range 60 {
		for _, p := range w.peers {
			if !p.dead {
				p.write(frame.Header{Type: frame.Resume})
				w.receive(p, 1<<30)
			}
		}
		w.carry()
	}
	for _, p := range w.peers {
		if p.dead {
			continue
		}
		for f, last := range p.last {
			require.True(t, f.from.dead || f.next == last, "seed %d: flow to %v: %d of %d", seed, f.to != nil, last, f.next)
		}
		require.Empty(t, p.stopped, "seed %d", seed)
		require.False(t, p.c.paused, "seed %d", seed)
		require.Empty(t, p.buf, "seed %d", seed)
		require.Empty(t, p.c.far, "seed %d", seed)
		require.Empty(t, p.c.farStops, "seed %d", seed)
		require.Empty(t, p.c.farAcks, "seed %d", seed)
		require.Zero(t, p.acks, "seed %d: each is acknowledged or refused", seed)
	}
	for _, p := range w.peers {
		if !p.dead {
			p.host.h.close(p.c)
		}
	}
	w.carry()
	for _, h := range w.hosts {
		s := h.h.site
		require.Equal(t, [6]int{}, [6]int{len(s.proxies), len(s.ids), len(s.claims), len(s.listen), len(s.joins), len(s.dels)}, "seed %d", seed)
		require.Equal(t, [4]int{}, [4]int{len(h.h.conns), len(h.h.ids), len(h.h.groups), len(h.h.accounts)}, "seed %d", seed)
	}
}

func (w *siteWorld) join(i int) {
	h := w.hosts[i%len(w.hosts)]
	p := &sitePeer{peer: h.root(), host: h, id: cbid.Make(uint32(1000+i), 1), last: make(map[*siteFlow]uint32), stopped: make(map[string]bool)}
	h.addSite(p.peer, p.id, "sim")
	w.peers = append(w.peers, p)
}

func (w *siteWorld) connect() {
	for i, p := range w.peers {
		p.flows = append(p.flows, &siteFlow{from: p, group: uint32(100 + i), wait: i%2 == 0}, &siteFlow{from: p, group: uint32(200 + i)})
		for _, q := range w.peers {
			if q == p {
				continue
			}
			for _, byID := range []bool{true, false} {
				f := &siteFlow{from: p, to: q, id: byID}
				p.flows = append(p.flows, f)
				q.last[f] = 0
			}
			for _, f := range p.flows[:2] {
				q.host.join(q.peer, f.group)
				q.last[f] = 0
			}
		}
		for n, f := range p.flows {
			w.flows[uint64(p.c.port)<<32|uint64(n)] = f
		}
	}
}

func (w *siteWorld) step() {
	p := w.peers[w.rnd.IntN(len(w.peers))]
	switch n := w.rnd.IntN(100); {
	case n < 20: // some of what a bridge has
		h := w.hosts[w.rnd.IntN(len(w.hosts))]
		h.turn()
		for range min(len(h.queue), w.rnd.IntN(30)) {
			f := h.queue[0]
			h.queue = h.queue[1:]
			f()
		}
	case p.dead:
	case n < 70:
		i := w.rnd.IntN(len(p.flows))
		for range 1 + w.rnd.IntN(10) {
			w.publish(p, i)
		}
	case n < 94:
		w.receive(p, w.rnd.IntN(4000))
	case n < 96:
		p.write(frame.Header{Type: frame.Hold})
	case n < 98:
		p.write(frame.Header{Type: frame.Resume})
	case n < 99 && w.rnd.IntN(4) == 0:
		p.dead = true
		p.host.h.close(p.c)
	}
}

func (w *siteWorld) publish(p *sitePeer, i int) {
	f := p.flows[i]
	if p.c.paused || len(p.buf) > 0 || p.stopped[f.name()] && w.rnd.IntN(10) > 0 {
		return
	}
	if f.to != nil && f.to.dead {
		return
	}
	f.next++
	data := make([]byte, 4+w.rnd.IntN(300))
	binary.NativeEndian.PutUint32(data, f.next)
	h := frame.Header{Group: f.group}
	id := cbid.Make(1, 1)
	switch {
	case f.to != nil && f.id:
		id = f.to.id
	case f.to != nil:
		h.Port = f.to.c.port
	case f.wait:
		h.Flags = frame.FlagWait
	}
	// What is published unacknowledged must not overtake, or be overtaken by, what is.
	if (f.to != nil || f.wait) && w.rnd.IntN(4) == 0 {
		h.Flags |= frame.FlagAck
		p.acks++
	}
	p.raw(msg(h, id, uint32(i), 0, string(data)))
}

func (f *siteFlow) name() string {
	g := got{Header: frame.Header{Group: f.group}}
	if f.to != nil {
		if !f.id {
			return "port " + strconv.Itoa(int(f.to.c.port))
		}
		g.body = frame.AppendID(nil, f.to.id)
	}
	return stopName(g)
}

func (w *siteWorld) receive(p *sitePeer, n int) {
	p.take(n)
	for _, g := range p.parse() {
		switch g.Type {
		case frame.Stop, frame.Go:
			key := "port " + strconv.Itoa(int(g.Port))
			if g.Port == 0 {
				key = stopName(g)
			}
			require.Equal(w.t, g.Type == frame.Go, p.stopped[key], "seed %d: %v %s", w.seed, g.Type, key)
			if g.Type == frame.Stop {
				p.stopped[key] = true
			} else {
				delete(p.stopped, key)
			}
		case frame.Msg:
			f := w.flows[uint64(g.Port)<<32|uint64(native.Uint32(g.body[24:]))]
			num := native.Uint32(g.body[connector.HeaderLen:])
			require.Equal(w.t, p.last[f]+1, num, "seed %d: flow of port %#x to %s at port %#x", w.seed, g.Port, f.name(), p.c.port)
			p.last[f] = num
			w.msgs++
		case frame.Lost:
			require.NotZero(w.t, g.Group, "seed %d: unicast is never lost", w.seed)
			for f := range p.last {
				if f.group == g.Group {
					require.False(w.t, f.wait, "seed %d: a waiting flow lost", w.seed)
					p.last[f] += uint32(g.Pos)
				}
			}
		case frame.Ack:
			p.acks--
			require.Contains(w.t, []uint16{0, connector.ErrNoID.Code(), connector.ErrNoPort.Code(), connector.ErrNoListener.Code()}, g.Code, "seed %d", w.seed)
		case frame.Fail: // only what was on its way when its receiver died
			f := p.flows[native.Uint32(g.body[24:])]
			require.True(w.t, f.to == nil || f.to.dead, "seed %d: code %d", w.seed, g.Code)
		case frame.Bye:
			require.Failf(w.t, "bye", "seed %d: %s", w.seed, g.body)
		}
	}
}
