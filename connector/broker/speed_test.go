package broker

import (
	"testing"

	"github.com/cnbus/cnbus/cbid"
	"github.com/cnbus/cnbus/connector"
	"github.com/cnbus/cnbus/connector/internal/frame"
)

// hubRig is a sender and eight members of group 5, of which the first owns id1, in a
// hub without sockets.
type hubRig struct {
	s       *sim
	from    *peer
	to      []*peer
	batch   []byte // of one kind of message
	scratch []byte
}

func newHubRig(tb testing.TB, h frame.Header, id cbid.ID) *hubRig {
	t, ok := tb.(*testing.T)
	if !ok {
		t = &testing.T{} // the sim only reports failures to it
	}
	r := &hubRig{s: newSim(t, nil)}
	r.from = r.s.root()
	for i := range 8 {
		p := r.s.root()
		if i == 0 {
			p.add(id1, "rig")
		}
		p.join(5)
		r.to = append(r.to, p)
	}
	r.from.read()
	r.to[0].read()
	if h.Port != 0 {
		h.Port = r.to[0].c.port
	}
	data := string(make([]byte, 128))
	for len(r.batch) < 60<<10 {
		r.batch = append(r.batch, msg(h, id, 1, 2, data)...)
	}
	return r
}

// turn does what the loop does with one read of a client.
func (r *hubRig) turn() {
	h := r.s.h
	r.scratch = append(r.scratch[:0], r.batch...)
	h.input(r.from.c, r.scratch)
	for _, c := range h.dirty {
		c.dirty = false
		h.written(c, c.out.len())
	}
	h.dirty = h.dirty[:0]
}

func BenchmarkForward(b *testing.B) {
	for _, k := range []struct {
		name string
		h    frame.Header
		id   cbid.ID
	}{
		{"port", frame.Header{Port: 1}, cbid.Make(1, 1)},
		{"id", frame.Header{}, id1},
		{"group", frame.Header{Group: 5}, cbid.Make(1, 1)},
		{"group-wait", frame.Header{Group: 5, Flags: frame.FlagWait}, cbid.Make(1, 1)},
	} {
		b.Run(k.name, func(b *testing.B) {
			r := newHubRig(b, k.h, k.id)
			n := len(r.batch) / (frame.HeaderLen + connector.HeaderLen + 128)
			for b.Loop() {
				r.turn()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/message")
		})
	}
}

func TestForwardingAllocatesNothing(t *testing.T) {
	for _, h := range []frame.Header{{Port: 1}, {}, {Group: 5}, {Group: 5, Flags: frame.FlagWait}} {
		r := newHubRig(t, h, id1)
		r.turn()
		if n := testing.AllocsPerRun(50, r.turn); n != 0 {
			t.Errorf("%+v: %v allocations", h, n)
		}
	}
}
